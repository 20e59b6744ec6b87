"""Finds where a training of `train` that was cut off continues; a sweep: see `plan`, `search`."""

from inat_ray.config.errors import UserError
from inat_ray.log.history import TrialHistory
from inat_ray.log.run_log import read_history
from inat_ray.run.checkpoints import BEGINNING, StartingPoint, starting_point
from inat_ray.run.folder import RunFolder

CONTINUED = ("running", "interrupted", "failed")
"""States of a training that can continue; `running` is what a killed process leaves."""


def point_to_resume(run: RunFolder, *, trial_id: str) -> StartingPoint:
    """Returns the point after the last epoch in the run's log.

    Raises UserError if the run holds no training that can continue.
    """
    trial = _interrupted(run, trial_id)
    point = starting_point(trial, run=run)
    if trial.epochs and point == BEGINNING:
        raise UserError(
            f"--resume {run.path}: the checkpoint of epoch {trial.epochs[-1].epoch} is missing or"
            " damaged; the run cannot continue"
        )
    return point


def _interrupted(run: RunFolder, trial_id: str) -> TrialHistory:
    if not run.events.exists():
        raise UserError(f"--resume {run.path}: its training had not begun; start it anew")
    history = read_history(run.log)
    trial = history.trials.get(trial_id)
    if trial is None:
        raise UserError(
            f"--resume {run.path}: holds no training that had begun; `train --resume` continues"
            " runs of `train`"
        )
    if trial.state not in CONTINUED:
        raise UserError(f"--resume {run.path}: its training has ended ({trial.state})")
    return trial
