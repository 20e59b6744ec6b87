"""The contents of a run: read from its folder or its place in a storage, as far as possible.

Lists, status and report have one reader, so that they tell the same of a run. It writes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.log.history import History
from inat_ray.log.lock import is_being_written
from inat_ray.log.records import AnyRecord
from inat_ray.log.run_log import read_records, read_stored
from inat_ray.run.folder import EXPERIMENT, RunFolder, existing_run
from inat_ray.run.result import Result, parsed_result, read_result
from inat_ray.run.state import State, state_of
from inat_ray.storage.place import Place, is_address

Part = Literal["log", "experiment", "result", "storage"]


@dataclass
class RunContents:
    """Whatever of a run is there; `problems` has the reason for each part that cannot be read."""

    is_running: bool = False
    """Whether a process on this machine is at work on it."""
    is_storage: bool = False
    """Whether it was read from its place in a storage."""
    history: History = field(default_factory=History)
    """The records of its log, up to the first damaged line."""
    changed: float | None = None
    """When the last record was written; None if there is none."""
    experiment: Experiment | None = None
    result: Result = field(default_factory=dict)
    """The content of result.json; empty if there is none."""
    storage: Place | None = None
    """The run's place in its storage, if it has one."""
    problems: dict[Part, UserError | RunFailedError] = field(default_factory=dict)

    @property
    def state(self) -> State:
        if self.problems and not self.is_running:
            return "damaged"
        state = state_of(self.history, self.result, running=self.is_running)
        return "running or cut off" if self.is_storage and state == "cut off" else state

    def check(self, *parts: Part) -> None:
        """Raises the error of the first of these parts that cannot be read."""
        for part in parts:
            if part in self.problems:
                raise self.problems[part]

    def _add_records(self, records: Iterable[AnyRecord]) -> None:
        for record in records:
            self.history.add(record)
            self.changed = record.time

    @contextmanager
    def _reading(self, part: Part) -> Iterator[None]:
        try:
            yield
        except (UserError, RunFailedError) as error:
            self.problems[part] = error


def read_contents(run: str | Path, *, options: Mapping[str, Any] | None = None) -> RunContents:
    """Reads a run's folder, or its place in a storage, as far as it can be read.

    `options` change the experiment, as in `load_experiment`; that of a run in an object store is
    not read. Raises UserError if there is no run.
    """
    if is_address(str(run)):
        return _read_object_store(Place.at(run))
    folder = existing_run(Path(run))
    # Asked before the log is read: a run that ends in between is then told as running, not cut off.
    found = RunContents(is_being_written(folder.log), folder.is_storage)
    with found._reading("log"):
        found._add_records(_records_of(folder))
    with found._reading("experiment"):
        found.experiment = load_experiment(folder.experiment, options=options)
    with found._reading("result"):
        found.result = read_result(folder.result) or {}
    with found._reading("storage"):
        found.storage = folder.storage
    return found


def read_whole(run: Path) -> tuple[Experiment, History]:
    """Reads a run's experiment and log. Raises UserError if either is missing or damaged."""
    found = read_contents(run)
    found.check("experiment", "log")
    assert found.experiment is not None
    return found.experiment, found.history


def _records_of(folder: RunFolder) -> Iterable[AnyRecord]:
    if folder.is_storage:
        return (record for _, record in read_stored(Place.at(folder.path)))
    return read_records(folder.events) if folder.events.exists() else ()


def _read_object_store(place: Place) -> RunContents:
    if not (place / EXPERIMENT).exists():
        raise UserError(f"{place}: holds no run")
    found, file = RunContents(is_storage=True), place / "result.json"
    with found._reading("log"):
        found._add_records(record for _, record in read_stored(place))
    with found._reading("result"):
        if file.exists():
            found.result = parsed_result(file.read(), source=str(file))
    return found
