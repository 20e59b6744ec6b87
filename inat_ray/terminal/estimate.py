"""How far a run is, and how long it is likely to go on."""

import statistics
from typing import Literal

from inat_ray.log.history import History, TrialHistory
from inat_ray.search.winner import final_training

Phase = Literal["search", "confirmation", "winner's training", "test", "training", "finished"]
"""What a run is doing; `training` is the whole of a run of `train`."""


def phase_of(history: History) -> Phase:
    """What the run is doing, by its last records."""
    if history.is_training:
        return "finished" if history.trials_over else "training"
    if history.ended is None:
        return "search"
    if not all(trial.is_over for trial in history.confirming):
        return "confirmation"
    if history.final is not None and not history.final.is_over:
        return "winner's training"
    if final_training(history) is None:
        return "finished" if history.looks and history.final is None else "confirmation"
    return "finished" if history.look else "test"


def stands_alone(history: History, trial: TrialHistory) -> bool:
    """Whether the training is no trial of a search: it is the winner's, or that of `train`."""
    return trial.purpose == "final" or history.is_training


def training_alone(history: History) -> TrialHistory | None:
    """The running training that is no trial of a search, if there is one."""
    candidates = [*history.active.values(), *([history.final] if history.final else [])]
    running = (trial for trial in candidates if trial.state == "running")
    return next((trial for trial in running if stands_alone(history, trial)), None)


def done_and_total(history: History) -> tuple[float, float]:
    """Counts the epochs of a training that stands alone, otherwise the trials of the search."""
    alone = training_alone(history)
    if alone is not None:
        return len(alone.epochs), alone.planned_epochs
    return trials_done(history), history.planned_trials


def trials_done(history: History) -> float:
    """Trials that are over, and of each other one the share of its epochs that is done."""
    shares = (len(trial.epochs) / trial.planned_epochs for trial in history.open.values())
    return history.trials_over + sum(shares)


def epochs_planned(history: History) -> int:
    """The epochs of the search if no trial were stopped early."""
    started = sum(trial.planned_epochs for trial in history.searched)
    return started + history.run.epochs * max(0, history.planned_trials - len(history.searched))


def seconds_left(history: History, *, now: float) -> float | None:
    """An estimate from the pace so far; None before the first epoch and after the last."""
    alone = training_alone(history)
    if alone is not None:
        return _seconds_left_of_training(alone, now=now)
    return _seconds_left_of_search(history, now=now)


def _seconds_left_of_training(trial: TrialHistory, *, now: float) -> float | None:
    """From the mean time of its epochs, less what the current epoch has taken already."""
    left = trial.planned_epochs - len(trial.epochs)
    if left <= 0 or not trial.epochs:
        return None
    pace = statistics.mean(epoch.seconds for epoch in trial.epochs)
    return left * pace - min(now - trial.epochs[-1].time, pace)


def _seconds_left_of_search(history: History, *, now: float) -> float | None:
    """From the pace in trials, so that the estimate learns what early stopping saves.

    None once the search has ended: the log does not tell how long its confirmation takes.
    """
    if history.ended is not None:
        return None
    done, total = trials_done(history), history.planned_trials
    return history.seconds_at(now) * (total - done) / done if 0 < done < total else None
