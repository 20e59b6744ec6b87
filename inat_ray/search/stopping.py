"""Whether a trial trains another epoch, and which budget ends the search, as pure functions."""

import math
import statistics
from itertools import pairwise

from inat_ray.config.search import SearchConfig
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import BUDGETS, BudgetName, Budgets, Reason, TrialState
from inat_ray.search.schedulers import SCHEDULERS

LATE = 1.05
"""The most that a confirmation may exceed the time, as a share of it."""

MOST_IMAGES = 1.25
"""Images of the winner's training, in those of a trial, if it has most of the validation images,
which are a fifth unless somebody says otherwise."""

FINALISTS = 2
"""Configurations that a confirmation trains with all of its seeds."""


def state_after_epoch(search: SearchConfig, history: History, trial_id: str) -> TrialState:
    """Returns the state of a trial whose newest epoch is in the history; `running`: it continues.

    Early stopping and budgets are for trials of the search: others train to their end.
    """
    trial = history.trials[trial_id]
    if (final := state_if_over(trial)) is not None:
        return final
    if trial.purpose != "search":
        return "running"
    stopping = search.early_stopping
    state = SCHEDULERS[stopping.kind].judge(stopping, history, trial)
    return "stopped" if state == "running" and spent_budget(search, history) else state


def state_if_over(trial: TrialHistory) -> TrialState | None:
    """Returns how a trial ends whatever others do: at its last epoch, or because a person asked.

    None if it could continue.
    """
    if trial.epochs and trial.epochs[-1].diverged:
        return "diverged"
    if trial.epochs and trial.epochs[-1].epoch >= trial.planned_epochs:
        return "finished"
    is_enough = trial.stop_after is not None and len(trial.epochs) >= trial.stop_after
    return "stopped_by_hand" if is_enough else None


def spent_budget(search: SearchConfig, history: History) -> Reason | None:
    """Returns the budget that leaves nothing more to train, not even a trial's next epoch.

    `trials` itself ends no trial. A person who asks for the search's end ends it like a budget.
    """
    if history.finish_asked:
        return "asked"
    return spent_of(present_budgets(search, history), history, kept_back=kept_back(search, history))


def kept_back(search: SearchConfig, history: History) -> float:
    """Returns the seconds that a search must leave to confirmation and the winner's training."""
    rounds = _final_trainings(search)
    if search.confirm is not None:
        for trainings in (search.confirm.top, FINALISTS * (search.confirm.seeds - 1)):
            rounds += math.ceil(trainings / history.most_at_once)
    return rounds * _training_seconds(search, history)


def is_late(search: SearchConfig, history: History) -> bool:
    """Returns whether another training of the confirmation, and the winner's, would end late."""
    seconds = present_budgets(search, history)["time"]
    if search.time_covers == "search" or seconds is None:
        return False
    left = (1 + _final_trainings(search)) * _training_seconds(search, history)
    return history.seconds + left > LATE * seconds


def _final_trainings(search: SearchConfig) -> float:
    """Returns how long the winner's training takes, in trainings of trials."""
    return 1.0 if search.final_validation_fraction is None else MOST_IMAGES


def _training_seconds(search: SearchConfig, history: History) -> float:
    """Returns the seconds of a training as the best trial's, if the time is for it, too.

    Its epochs after the first are alike: the first one may prepare something. Between two there is
    the shortest pause that was seen. One epoch is added, since trials end after the epoch that they
    are in.
    """
    leader = history.leader
    if search.time_covers == "search" or leader is None or len(leader.epochs) < 2:
        return 0.0
    epoch = statistics.mean(record.seconds for record in leader.epochs[1:])
    pairs = pairwise(leader.epochs)
    pause = min(after.time - before.time - after.seconds for before, after in pairs)
    return (leader.planned_epochs + 1) * (epoch + max(0.0, pause))


def present_budgets(search: SearchConfig, history: History) -> Budgets:
    """Returns the budgets beside the trials, as a person may have changed them since."""
    return {name: history.budgets.get(name, getattr(search, name)) for name in BUDGETS}


def set_budgets(search: SearchConfig) -> Budgets:
    """Returns the budgets beside the trials that the experiment sets."""
    budgets: Budgets = {name: getattr(search, name) for name in BUDGETS}
    return {name: budget for name, budget in budgets.items() if budget is not None}


def spent_of(budgets: Budgets, history: History, *, kept_back: float) -> BudgetName | None:
    """Returns the first of these budgets, all of which are there, that is spent.

    `kept_back`: seconds that are left to what follows the search.
    """
    epochs, seconds, target = (budgets[name] for name in BUDGETS)
    if target is not None and history.standings.highest >= history.turned(target):
        return "target"
    if epochs is not None and history.epochs_spent >= epochs:
        return "epochs"
    if seconds is not None and history.seconds + kept_back >= seconds:
        return "time"
    return None
