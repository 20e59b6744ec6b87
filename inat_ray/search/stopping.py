"""When a trial ends, pauses or goes on, and when the search ends: decisions as pure functions of
(settings, history).
"""

import math

from inat_ray.config.metrics import METRICS
from inat_ray.config.search import EarlyStopping, SearchConfig
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import Reason, TrialState


def state_after_epoch(settings: EarlyStopping, history: History, trial_id: str) -> TrialState:
    """The state of a trial whose newest epoch is already in the history.

    `running` means that it goes on.
    """
    trial = history.trials[trial_id]
    if (over := state_if_over(trial)) is not None:
        return over
    if trial.purpose != "search":
        return "running"
    return _judged(settings, history, trial)


def state_if_over(trial: TrialHistory) -> TrialState | None:
    """What no other trial has a say in: `diverged`, or `finished`; None while it could go on."""
    if not trial.epochs:
        return None
    newest = trial.epochs[-1]
    if newest.diverged:
        return "diverged"
    return "finished" if newest.epoch >= trial.planned_epochs else None


def _judged(settings: EarlyStopping, history: History, trial: TrialHistory) -> TrialState:
    """What early stopping makes of a trial that could go on."""
    epoch = trial.epochs[-1].epoch
    if settings.kind == "median":
        return "stopped" if _is_below_median(settings, history, trial) else "running"
    if settings.kind == "none" or not at_rung(settings, epoch):
        return "running"
    if settings.kind == "asha_promotion":
        return "paused"
    return "running" if _is_in_top(settings, history, trial) else "stopped"


def promotable(settings: EarlyStopping, history: History) -> str | None:
    """The paused trial that goes on next, the one at the highest rung; None for none.

    A trial is promoted that is among the best 1/reduction_factor at its rung (Li et al., MLSys
    2020, algorithm 2).
    """
    for epoch in history.standings.paused_epochs:
        number, rank = history.standings.best_paused(epoch)
        if rank < survivors(history.standings.count(epoch), settings.reduction_factor):
            return history.numbered[number].trial_id
    return None


def next_best(history: History, *, most: int | None) -> str | None:
    """The paused trial that comes nearest to being promoted, where nothing else is left to do.

    It is the one of the best share of its rung; of equals the one at the highest. `most`: only
    trials of a rank below it. With 1 a search ends with a model that was trained to the end, even
    if 1/reduction_factor of a rung is less than one trial. None is for a search with a budget to
    spend.
    """
    found = [
        ((rank + 1) / history.standings.count(epoch), -epoch, number)
        for epoch in history.standings.paused_epochs
        for number, rank in [history.standings.best_paused(epoch)]
        if most is None or rank < most
    ]
    return history.numbered[min(found)[2]].trial_id if found else None


def survivors(trials: int, reduction_factor: int) -> int:
    """How many of the trials at a rung go on."""
    return trials // reduction_factor


def is_rung(epoch: int, *, min_epochs: int, reduction_factor: int) -> bool:
    """Whether trials are compared after this epoch: min_epochs x reduction_factor^k."""
    rung = min_epochs
    while rung < epoch:
        rung *= reduction_factor
    return rung == epoch


def at_rung(settings: EarlyStopping, epoch: int) -> bool:
    """Whether successive halving compares trials after this epoch."""
    return is_rung(
        epoch, min_epochs=settings.min_epochs, reduction_factor=settings.reduction_factor
    )


def _is_in_top(settings: EarlyStopping, history: History, trial: TrialHistory) -> bool:
    """Whether the trial is among the best at its rung so far; equals go on together.

    The first to reach a rung goes on: ASHA does not wait.
    """
    newest = trial.epochs[-1]
    score = history.score(newest)
    if not math.isfinite(score):
        return False
    standings = history.standings
    most = survivors(standings.count(newest.epoch), settings.reduction_factor)
    return standings.better(newest.epoch, score) < max(1, most)


def _is_below_median(settings: EarlyStopping, history: History, trial: TrialHistory) -> bool:
    epoch = trial.epochs[-1].epoch
    if epoch < settings.min_epochs or history.standings.count(epoch) <= settings.min_trials:
        return False
    best = max(s for record in trial.epochs if math.isfinite(s := history.score(record)))
    return best < history.standings.median_of_means(epoch, without=trial.number)


def spent_budget(search: SearchConfig, history: History) -> Reason | None:
    """The budget that leaves nothing more to train, not even the next epoch of a trial.

    An extension is counted in trials, so it lifts the other budgets. `trials` itself ends no trial.
    """
    if history.extended:
        return None
    metric = METRICS[search.metric.name]
    if search.target is not None and history.best_score >= metric.score(search.target):
        return "target"
    if search.epochs is not None and history.epochs_spent >= search.epochs:
        return "epochs"
    if search.time is not None and history.seconds >= search.time:
        return "time"
    return None


def has_open_budget(search: SearchConfig, history: History) -> bool:
    """Whether a budget other than `trials` says when the search ends, and it has not come yet."""
    given = (search.epochs, search.time, search.target)
    return not history.extended and given != (None, None, None)
