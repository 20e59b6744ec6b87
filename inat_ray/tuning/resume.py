"""Runs that go on where they were cut off: the checks before, and where a training stands."""

from inat_ray.config.difference import differences
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import DataSet
from inat_ray.data.split import Split
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.run_log import read_history
from inat_ray.run.checkpoints import BEGINNING, StartingPoint, starting_point
from inat_ray.run.folder import RunFolder

ALLOWED_BESIDE = "only settings of resources and device, and --data for images that were moved"

CONTINUED = ("running", "interrupted", "failed")
"""States of a training that can go on; `running` is what a killed process leaves."""


def same_experiment(run: RunFolder, now: Experiment, *, option: str) -> None:
    """Raises UserError where the run's own experiment is another, with the difference."""
    if found := differences(stored_experiment(run, option=option), now):
        raise UserError(
            f"{option} {run.path}: goes on with the run's own experiment, and this one differs:"
            f" {'; '.join(found)}; {ALLOWED_BESIDE} may change"
        )


def stored_experiment(run: RunFolder, *, option: str) -> Experiment:
    """The resolved experiment of a run. Raises UserError where there is no run."""
    if not run.experiment.exists():
        raise UserError(f"{option} {run.path}: holds no run")
    return load_experiment(run.experiment)


def check_resumable(run: RunFolder, history: History) -> None:
    """Raises UserError where there is nothing to resume in a run of `sweep`."""
    _check_is_search(run, history, option="--resume")
    if run.result.exists() and not history.unfinished:
        raise UserError(
            f"--resume {run.path}: the sweep is complete; --extend {run.path} --trials N adds to it"
        )


def check_extendable(run: RunFolder, history: History) -> None:
    """Raises UserError where a run of `sweep` has not come to its end yet."""
    _check_is_search(run, history, option="--extend")
    if history.ended is None:
        raise UserError(
            f"--extend {run.path}: the search has not ended yet;"
            f" --resume {run.path} goes on with it"
        )


def _check_is_search(run: RunFolder, history: History, *, option: str) -> None:
    if history.started is not None and history.run.method == "train":
        raise UserError(f"{option} {run.path}: is a run of train; train --resume goes on with it")


def point_to_resume(run: RunFolder, *, data: DataSet, trial_id: str) -> StartingPoint:
    """After the last epoch in the run's log.

    Raises UserError where the run holds no training that can go on, or on other data.
    """
    trial = _interrupted(run, trial_id)
    check_same_split(run, data)
    point = starting_point(trial, run=run)
    if trial.epochs and point == BEGINNING:
        raise UserError(
            f"--resume {run.path}: the checkpoint of epoch {trial.epochs[-1].epoch} is gone or"
            " damaged; the run cannot go on"
        )
    return point


def _interrupted(run: RunFolder, trial_id: str) -> TrialHistory:
    if not run.events.exists():
        raise UserError(f"--resume {run.path}: its training had not begun; start it anew")
    history = read_history(run.log)
    trial = history.trials.get(trial_id)
    if trial is None:
        raise UserError(
            f"--resume {run.path}: holds no training that had begun; `train --resume` goes on with"
            " runs of `train`"
        )
    if trial.state not in CONTINUED:
        raise UserError(f"--resume {run.path}: its training is over ({trial.state})")
    return trial


def check_same_split(run: RunFolder, data: DataSet) -> None:
    """Raises UserError where the images are not those that the run began with."""
    if not run.split.exists():  # it was cut off before it had begun
        return
    before = Split.read(run.split, data.pack)
    for name in data.SUBSETS:
        if getattr(before, name).tolist() != data.subset(name).tolist():
            raise UserError(
                f"--resume {run.path}: the data have changed: {run.split.name} has other"
                f" {name} images"
            )
