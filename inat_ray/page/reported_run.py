"""A run as its report finds it: whatever of it is there, and what is not."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.data.dataset import DataSet, open_dataset
from inat_ray.log.history import History
from inat_ray.log.records import LookAtTest
from inat_ray.run.contents import RunContents, read_contents
from inat_ray.run.folder import RunFolder
from inat_ray.training.checkpoint import LoadedModel, load_model

NEVER_BEGAN = "The log holds no record: the run ended before its first trial."


@dataclass
class ReportedRun:
    """What a run's folder holds; each part that it lacks is named in `missing`, with the reason."""

    folder: RunFolder
    history: History
    experiment: Experiment | None = None
    result: dict[str, Any] = field(default_factory=dict)
    """Of result.json; empty where the run has not come to its end."""
    model: LoadedModel | None = None
    data: DataSet | None = None
    missing: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of its folder, which tells runs of one experiment apart."""
        return self.folder.path.resolve().name

    @property
    def look(self) -> LookAtTest | None:
        """The newest look at the test set."""
        return self.history.looks[-1] if self.history.looks else None

    @property
    def is_search(self) -> bool:
        return self.history.started is not None and self.history.run.method != "train"


def open_run(path: Path, *, source: str | None = None) -> ReportedRun:
    """Reads what there is of the run in folder `path`.

    `source` takes the place of the folder of photographs that the experiment names. Raises
    UserError if the folder holds no run at all.
    """
    found = read_contents(
        path, options={} if source is None else {"data.source": ("--data", source)}
    )
    run = ReportedRun(RunFolder(path), found.history, found.experiment, found.result)
    run.missing = list(_missing_parts(found, run.folder))
    _read_model(run)
    _open_data(run, build=source is not None)
    return run


def _missing_parts(found: RunContents, folder: RunFolder) -> Iterator[str]:
    problems = found.problems
    if not found.is_storage and not folder.events.exists():
        yield f"The run has no log ({folder.events.relative_to(folder.path)})."
    elif "log" in problems:
        yield f"The log could be read up to a damaged line only: {problems['log']}"
    elif found.history.started is None:
        yield NEVER_BEGAN
    if "experiment" in problems:
        yield f"The experiment could not be read: {problems['experiment']}"
    if "result" in problems:
        yield f"result.json could not be read: {problems['result']}"
    elif not found.result:
        yield "There is no result.json: the run has not come to its end."


def _read_model(run: ReportedRun) -> None:
    if not run.folder.model.exists():
        run.missing.append(f"There is no model here ({run.folder.model.name}).")
        return
    try:
        run.model = load_model(run.folder.model)
    except UserError as error:
        run.missing.append(f"The model could not be read: {error}")


def _open_data(run: ReportedRun, *, build: bool) -> None:
    """Photographs that nobody asked for are neither downloaded nor decoded."""
    if run.experiment is None:
        return
    try:
        run.data = open_dataset(run.experiment.data, progress=True, build=build)
    except UserError as error:
        run.missing.append(
            f"The photographs could not be opened, so pictures are left out: {error}"
        )
