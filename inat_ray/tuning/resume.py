"""A training that goes on where it was cut off."""

from dataclasses import dataclass
from pathlib import Path

from inat_ray.config.errors import UserError
from inat_ray.data.dataset import DataSet
from inat_ray.data.split import Split
from inat_ray.tuning.run_folder import RunFolder
from inat_ray.tuning.run_log import TrialHistory, read_history

CONTINUED = ("running", "interrupted", "failed")
"""States of a training that can go on; `running` is what a killed process leaves."""


@dataclass(frozen=True)
class StartingPoint:
    """Where a training goes on."""

    epochs_done: int
    checkpoint: Path | None


BEGINNING = StartingPoint(epochs_done=0, checkpoint=None)


def starting_point(run: RunFolder, *, data: DataSet, trial_id: str) -> StartingPoint:
    """After the last epoch in the run's log.

    Raises UserError where the run holds no training that can go on, or on other data.
    """
    trial = _interrupted(run, trial_id)
    _check_same_split(run, data)
    if not trial.epochs:
        return BEGINNING
    newest = trial.epochs[-1]
    path = run.path.resolve() / (newest.checkpoint or "")
    if not path.is_file():
        raise UserError(
            f"--resume {run.path}: the checkpoint of epoch {newest.epoch} is gone;"
            " the run cannot go on"
        )
    return StartingPoint(epochs_done=newest.epoch, checkpoint=path)


def _interrupted(run: RunFolder, trial_id: str) -> TrialHistory:
    if not run.log.exists():
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


def _check_same_split(run: RunFolder, data: DataSet) -> None:
    before = Split.read(run.split, data.pack)
    for name in data.SUBSETS:
        if getattr(before, name).tolist() != data.subset(name).tolist():
            raise UserError(
                f"--resume {run.path}: the data have changed: {run.split.name} has other"
                f" {name} images"
            )
