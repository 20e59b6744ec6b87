"""A run as its report finds it: what its folder holds, and what it lacks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import DataSet, open_dataset
from inat_ray.log.history import History
from inat_ray.log.records import LookAtTest
from inat_ray.log.run_log import read_records
from inat_ray.run.folder import RunFolder
from inat_ray.run.result import Result, read_result
from inat_ray.training.checkpoint import LoadedModel, load_model

NEVER_BEGAN = "The log holds no record: the run ended before its first trial."


@dataclass
class ReportedRun:
    """What a run's folder holds; each part that it lacks is named in `missing`, with the reason."""

    folder: RunFolder
    history: History
    experiment: Experiment | None = None
    result: Result = field(default_factory=dict)
    """The content of result.json; empty where the run has not finished."""
    model: LoadedModel | None = None
    data: DataSet | None = None
    missing: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of the folder, which tells runs of one experiment apart."""
        return self.folder.path.resolve().name

    @property
    def look(self) -> LookAtTest | None:
        """The newest look at the test set."""
        return self.history.looks[-1] if self.history.looks else None

    @property
    def is_search(self) -> bool:
        return self.history.started is not None and not self.history.is_training

    @contextmanager
    def noting(self, problem: str) -> Iterator[None]:
        """Turns a UserError within the context into an entry of `missing`."""
        try:
            yield
        except UserError as error:
            self.missing.append(f"{problem}: {error}")


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
    options = {} if source is None else {"data.source": ("--data", source)}
    with run.noting("The experiment could not be read"):
        run.experiment = load_experiment(folder.experiment, options=options)
    _read_result(run)
    _read_model(run)
    if run.experiment is not None:
        with run.noting("The photographs could not be opened, so pictures are left out"):
            # Photographs that nobody asked for are neither downloaded nor decoded.
            build = source is not None
            run.data = open_dataset(run.experiment.data, progress=True, build=build)
    return run


def _read_log(run: ReportedRun) -> None:
    """Reads the log as far as it goes: what stands before a damaged line counts."""
    path = run.folder.events
    if not path.exists():
        run.missing.append(f"The run has no log ({path.relative_to(run.folder.path)}).")
        return
    with run.noting("The log could be read up to a damaged line only"):
        for record in read_records(path):
            run.history.add(record)
    if run.history.started is None:
        run.missing.append(NEVER_BEGAN)


def _read_result(run: ReportedRun) -> None:
    with run.noting("result.json could not be read"):
        result = read_result(run.folder.result)
        if result is None:
            run.missing.append("There is no result.json: the run has not finished.")
        run.result = result or {}


def _read_model(run: ReportedRun) -> None:
    if not run.folder.model.exists():
        run.missing.append(f"There is no model here ({run.folder.model.name}).")
        return
    with run.noting("The model could not be read"):
        run.model = load_model(run.folder.model)
