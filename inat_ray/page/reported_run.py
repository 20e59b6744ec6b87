"""A run as its report finds it: whatever of it is there, and what is not."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import DataSet, open_dataset
from inat_ray.log.history import History
from inat_ray.log.records import LookAtTest
from inat_ray.log.run_log import EVENTS, read_records
from inat_ray.run.folder import RunFolder
from inat_ray.run.result import read_result
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
    UserError where the folder holds no run at all.
    """
    folder = RunFolder(path)
    if not folder.holds_a_run:
        raise UserError(f"{path}: holds no run; a folder with a log or an experiment.yaml is one")
    run = ReportedRun(folder, History())
    _read_log(run)
    _read_experiment(run, source=source)
    _read_result(run)
    _read_model(run)
    _open_data(run, build=source is not None)
    return run


def _read_log(run: ReportedRun) -> None:
    """As far as it goes: what stands before a damaged line counts."""
    path = run.folder.log / EVENTS
    if not path.exists():
        run.missing.append(f"The run has no log ({path.relative_to(run.folder.path)}).")
        return
    try:
        for _ in read_records(path, history=run.history):
            pass
    except UserError as error:
        run.missing.append(f"The log could be read up to a damaged line only: {error}")
    if run.history.started is None:
        run.missing.append(NEVER_BEGAN)


def _read_experiment(run: ReportedRun, *, source: str | None) -> None:
    options = {} if source is None else {"data.source": ("--data", source)}
    try:
        run.experiment = load_experiment(run.folder.experiment, options=options)
    except UserError as error:
        run.missing.append(f"The experiment could not be read: {error}")


def _read_result(run: ReportedRun) -> None:
    try:
        result = read_result(run.folder.result)
    except UserError as error:
        run.missing.append(f"result.json could not be read: {error}")
        return
    if result is None:
        run.missing.append("There is no result.json: the run has not come to its end.")
    run.result = result or {}


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
