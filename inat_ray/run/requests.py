"""What people ask of a sweep that is running, by way of its folder or its place in a storage.

A request is a small file of JSON: whoever may write there may ask. The process that runs the sweep
makes records of it in the log, and removes it; one that it did not come to before it died waits
until the run is resumed.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self
from uuid import uuid4

from pydantic import ValidationError

from inat_ray.config.errors import UserError, finding
from inat_ray.config.experiment import Experiment
from inat_ray.config.space import SearchSpace, search_space
from inat_ray.log.history import History
from inat_ray.log.lock import is_alive_in, is_being_written
from inat_ray.log.records import Steering, StopAsked
from inat_ray.log.run_log import RunLog
from inat_ray.run.contents import read_contents
from inat_ray.run.fetch import is_storage
from inat_ray.run.folder import REQUESTS, RunFolder
from inat_ray.search.steering import Request, answered
from inat_ray.storage.place import Place

SECONDS_BETWEEN_LOOKS = 5.0
"""At the storage, which may be slow; the folder is looked at whenever a decision may be due."""

PATIENCE = 60.0
"""Seconds for which whoever asks waits for the sweep, and then takes the request back."""


class Requests:
    """The requests to the sweep that this process runs.

    State: `_stored`, those that a thread found in the storage; `_answered`, files that are about to
    be removed.
    """

    def __init__(
        self,
        run: RunFolder,
        *,
        experiment: Experiment,
        space: SearchSpace,
        tell: Callable[[str], None] = print,
    ) -> None:
        """`space` is the one that the search began with; `tell` hears what cannot be done."""
        self._run, self._experiment, self._space, self._tell = run, experiment, space, tell
        self._stored: SimpleQueue[tuple[Place, bytes]] = SimpleQueue()
        self._answered: set[Place] = set()
        self._over = threading.Event()

    def __enter__(self) -> Self:
        if (storage := self._run.storage) is not None:
            found: set[Place] = set()
            self._look(storage, found)  # at what was left while no process was at work on the run
            threading.Thread(target=self._watch, args=(storage, found), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def take_in(self, log: RunLog) -> None:
        """Makes records of the requests that have come; a trial that does not run ends at once."""
        for file, content in self._waiting():
            self._answered.add(file)
            try:
                self.answer(Request.model_validate_json(content), log)
            except UserError as error:
                self._tell(f"a request was left undone: {error}")
            except ValidationError as error:
                self._tell(
                    "a request was left undone: its file is no request that this version can read:"
                    f" {finding(error)}"
                )
            log.then(lambda file=file: _remove(file))  # type: ignore[misc]

    def answer(self, request: Request, log: RunLog) -> None:
        """Makes records of one. Raises UserError where the search cannot do it."""
        # Imported only now: PyTorch takes seconds to load, and whoever asks does without it.
        from inat_ray.run.checkpoints import end_trial

        experiment, history = self._experiment, log.history
        about: dict[str, Any] = {"experiment": experiment, "space": self._space}
        for record in _answered_at_work(request, history=history, **about):
            log.append(record)
            if isinstance(record, StopAsked) and record.trial_id not in history.active:
                end_trial(record.trial_id, "stopped_by_hand", run=self._run, log=log)

    def _waiting(self) -> Iterator[tuple[Place, bytes]]:
        if (self._run.path / REQUESTS).is_dir():
            yield from _files(Place.at(self._run.path), known=self._answered)
        while not self._stored.empty():
            yield self._stored.get()

    def _watch(self, storage: Place, found: set[Place]) -> None:
        while not self._over.wait(SECONDS_BETWEEN_LOOKS):
            self._look(storage, found)

    def _look(self, storage: Place, found: set[Place]) -> None:
        with suppress(OSError, UserError):  # the storage is away; the log's mirror tells of it
            for file, content in _files(storage, known=found):
                found.add(file)
                self._stored.put((file, content))


def ask(run: str, request: Request, *, at: Place) -> list[tuple[int, Steering]]:
    """Asks the process that is at work on a run; returns what it made of it, as in `History`.

    Raises UserError where the search cannot do it, or does not come to it.
    """
    before = _checked(run, request)
    file = leave(request, at=at)
    deadline = time.monotonic() + PATIENCE
    while (waits := file.exists()) and time.monotonic() < deadline:
        time.sleep(0.2)
    if waits:
        file.remove()
    elif after := read_contents(run).history.steering[len(before.steering) :]:
        return after
    _checked(run, request)  # it may be past what was asked by now
    if waits:
        raise UserError(
            f"{run}: the sweep does not come to it: it is starting still, or has ended its search;"
            f" --status {run} tells"
        )
    raise UserError(f"{run}: the sweep has left it undone; it says why where it runs")


def leave(request: Request, *, at: Place) -> Place:
    """Leaves a request in a run's folder, or its place in a storage; returns its file."""
    file = at / REQUESTS / f"{time.time():017.6f}-{uuid4().hex[:8]}.json"
    file.write(request.model_dump_json().encode())
    return file


def _checked(run: str, request: Request) -> History:
    """Returns the run's history. Raises UserError where the search, as it is now, cannot do it."""
    found = read_contents(run)
    found.check("log")
    if found.experiment is not None:
        about = {"experiment": found.experiment, "space": search_space(found.experiment)}
        _answered_at_work(request, **about, history=found.history)
    return found.history


def _answered_at_work(request: Request, *, history: History, **about: Any) -> list[Steering]:
    """Returns what `answered` does where a process is at work on the run.

    Such a process goes on to the winner once its search has ended, and does not turn back.
    """
    if request.pick or (history.ended is not None and (request.settings or request.trials)):
        raise UserError(
            "a process is at work on the run, and has gone on to the winner or is to; once the run"
            " is finished, the same command does it"
        )
    return answered(request, history=history, **about)


def place_of_work(run: str) -> Place | None:
    """Returns where a process that is at work on a run looks for requests; None without one.

    For a run that is named by its place in a storage that is wherever the process runs; for a
    folder, on this machine.
    """
    is_at_work = (
        is_alive_in(Place.at(run))
        if is_storage(run)
        else is_being_written(RunFolder(Path(run)).log)
    )
    return Place.at(run) if is_at_work else None


def _files(place: Place, *, known: set[Place]) -> Iterator[tuple[Place, bytes]]:
    """Yields the requests at a place that are not `known`, the earliest first."""
    folder = place / REQUESTS
    for name in folder.names():
        if name.endswith(".json") and (file := folder / name) not in known:
            with suppress(FileNotFoundError):  # whoever asked has taken it back
                yield file, file.read()


def _remove(file: Place) -> None:
    with suppress(OSError):
        file.remove()
