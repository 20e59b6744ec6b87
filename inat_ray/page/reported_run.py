"""A run as its report finds it: what its folder holds, and what it lacks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.data.dataset import DataSet, open_dataset
from inat_ray.log.history import History
from inat_ray.log.records import LookAtTest
from inat_ray.run.contents import RunContents, read_contents
from inat_ray.run.folder import RunFolder
from inat_ray.run.result import Result
from inat_ray.training.checkpoint import LoadedModel, load_model
from inat_ray.training.predictions import Predictions, read_predictions

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
    predictions: Predictions | None = None
    """What the model said of the test images, as it was recorded at the newest look."""
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
    UserError if the folder holds no run at all.
    """
    found = read_contents(
        path, options={} if source is None else {"data.source": ("--data", source)}
    )
    run = ReportedRun(RunFolder(path), found.history, found.experiment, found.result)
    run.missing = list(_missing_parts(found, run.folder))
    _read_model(run)
    if run.look is not None:
        with run.noting("The predictions could not be read"):
            run.predictions = read_predictions(run.folder.path / run.look.predictions)
    if run.experiment is not None:
        with run.noting("The photographs could not be opened, so pictures are left out"):
            # Photographs that nobody asked for are neither downloaded nor decoded.
            build = source is not None
            data = open_dataset(run.experiment.data, progress=True, build=build)
            model = run.experiment if run.model is None else run.model.experiment
            run.data = data.with_validation(model.data.validation_fraction)
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
        yield "There is no result.json: the run has not finished."


def _read_model(run: ReportedRun) -> None:
    if not run.folder.model.exists():
        run.missing.append(f"There is no model here ({run.folder.model.name}).")
        return
    with run.noting("The model could not be read"):
        run.model = load_model(run.folder.model)
