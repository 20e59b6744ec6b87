"""When a trial ends: decisions as pure functions of (settings, history, trial)."""

import math
from collections.abc import Sequence

from inat_ray.config.experiment import EarlyStopping
from inat_ray.tuning.run_log import History, TrialHistory, TrialState


def state_after_epoch(settings: EarlyStopping, history: History, trial_id: str) -> TrialState:
    """The state of a trial whose newest epoch is already in the history.

    `running` means that it goes on.
    """
    trial = history.trials[trial_id]
    newest = trial.epochs[-1]
    if not (math.isfinite(newest.train_loss) and math.isfinite(newest.val_loss)):
        return "diverged"
    if newest.epoch >= trial.planned_epochs:
        return "finished"
    if settings.kind == "asha" and not _survives_its_rung(settings, history, trial):
        return "stopped"
    return "running"


def is_rung(epoch: int, *, min_epochs: int, reduction_factor: int) -> bool:
    """Whether trials are compared after this epoch: min_epochs x reduction_factor^k."""
    rung = min_epochs
    while rung < epoch:
        rung *= reduction_factor
    return rung == epoch


def is_in_top(value: float, peers: Sequence[float], *, reduction_factor: int) -> bool:
    """Whether `value` is among the best 1/reduction_factor of `peers` (higher is better).

    `peers` includes `value`. At least one survives, so the first to reach a rung goes on
    (ASHA does not wait: Li et al., MLSys 2020, algorithm 2).
    """
    survivors = max(1, len(peers) // reduction_factor)
    return sum(peer > value for peer in peers) < survivors


def _survives_its_rung(settings: EarlyStopping, history: History, trial: TrialHistory) -> bool:
    epoch = trial.epochs[-1].epoch
    if not is_rung(
        epoch, min_epochs=settings.min_epochs, reduction_factor=settings.reduction_factor
    ):
        return True
    peers = [
        score
        for other in history.searched
        if (score := _score_at(history, other, epoch)) is not None
    ]
    value = _score_at(history, trial, epoch)
    return value is not None and is_in_top(value, peers, reduction_factor=settings.reduction_factor)


def _score_at(history: History, trial: TrialHistory, epoch: int) -> float | None:
    """The metric after `epoch`, higher being better; None if not reached or not a number."""
    assert history.run is not None
    sign = 1 if history.run.goal == "maximize" else -1
    for record in trial.epochs:
        value: float = getattr(record, history.run.metric)
        if record.epoch == epoch and math.isfinite(value):
            return sign * value
    return None
