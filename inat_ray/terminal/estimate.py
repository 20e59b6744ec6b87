"""How far a run is, and how long it is likely to take."""

import statistics
from typing import Literal

from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import BUDGETS, BudgetName
from inat_ray.search.winner import final_training

Phase = Literal["search", "confirmation", "winner's training", "test", "training", "finished"]
"""The stages of a run; a run of `train` has only `training`."""


def phase_of(history: History) -> Phase:
    """Returns what the run is doing, by its last records."""
    if history.is_training:
        return "finished" if history.trials_over else "training"
    if history.ended is None:
        return "search"
    if not all(trial.is_over for trial in history.confirming):
        return "confirmation"
    begins = history.final is None and history.picked is not None
    if begins or (history.final is not None and not history.final.is_over):
        return "winner's training"
    if final_training(history) is None:
        return "finished" if history.looks and history.final is None else "confirmation"
    return "finished" if history.look else "test"


def stands_alone(history: History, trial: TrialHistory) -> bool:
    """Returns whether the training is not part of a search: the winner's, or that of `train`."""
    return trial.purpose == "final" or history.is_training


def running_trials(history: History) -> list[TrialHistory]:
    """Returns the trials that run, in order of start; the winner's training is the last."""
    final = history.final
    winners = [final] if final is not None and final.state == "running" else []
    return [*history.active.values(), *winners]


def training_alone(history: History) -> TrialHistory | None:
    """Returns the running training that is not part of a search, if there is one."""
    return next((t for t in running_trials(history) if stands_alone(history, t)), None)


def share_done(history: History, *, now: float) -> float:
    """Returns how much of a training that stands alone is done, otherwise of the search.

    A search is as far as the budget is spent that is likely to end it, if that can be told.
    """
    alone = training_alone(history)
    if alone is not None:
        return len(alone.epochs) / alone.planned_epochs
    if history.ended is not None:
        return 1.0
    return min(1.0, max(_shares(history, now=now).values(), default=0.0))


def trials_done(history: History) -> float:
    """Counts the trials that ended, and of each other one the share of its epochs that is done."""
    shares = (len(trial.epochs) / trial.planned_epochs for trial in history.open.values())
    return history.trials_over + sum(shares)


def epochs_planned(history: History) -> int | None:
    """Counts the epochs of the search if no trial were stopped early, or its budget of them.

    None if a time or a target ends the search: how many there will be is not known.
    """
    epochs, *others = (history.budgets.get(name) for name in BUDGETS)
    if epochs is None and others != [None, None]:
        return None
    started = sum(trial.planned_epochs for trial in history.searched)
    most = started + history.run.epochs * max(0, history.most_trials - len(history.searched))
    return most if epochs is None else min(int(epochs), most)


def seconds_left(history: History, *, now: float) -> float | None:
    """Estimates the time left from the pace so far, and no more than the search's budget of it.

    None before the first epoch and after the last one, once the search has ended, since the log
    does not say how long its confirmation takes, and of one that only a target ends.
    """
    alone = training_alone(history)
    if alone is not None:
        return _seconds_left_of_training(alone, now=now)
    if history.ended is not None or history.epochs_spent == 0:
        return None
    elapsed, shares = history.seconds_at(now), _shares(history, now=now)
    if max(shares.values(), default=1.0) >= 1 or min(shares.values()) <= 0:
        return None
    # What precedes the first epoch, such as making features, comes once.
    first = next(iter(history.numbered[0].epochs), None)
    once = first.time - first.seconds - history.run.time if first else 0.0
    paces = {"time": elapsed} | dict.fromkeys(("trials", "epochs"), max(0.0, elapsed - once))
    return min(paces[name] * (1 - done) / done for name, done in shares.items())


def _shares(history: History, *, now: float) -> dict[str, float]:
    """Returns how much of each budget is spent. How far a target is cannot be told."""
    spent: dict[BudgetName, float] = {
        "epochs": history.epochs_spent,
        "time": history.seconds_at(now),
    }
    shares: dict[str, float] = {
        name: amount / budget
        for name, amount in spent.items()
        if (budget := history.budgets.get(name))
    }
    # By trials rather than by epochs, so that the estimate learns what early stopping saves.
    if planned := history.planned_trials:
        shares["trials"] = trials_done(history) / planned
    return shares


def _seconds_left_of_training(trial: TrialHistory, *, now: float) -> float | None:
    left = trial.planned_epochs - len(trial.epochs)
    if left <= 0 or not trial.epochs:
        return None
    pace = statistics.mean(epoch.seconds for epoch in trial.epochs)
    return left * pace - min(now - trial.epochs[-1].time, pace)
