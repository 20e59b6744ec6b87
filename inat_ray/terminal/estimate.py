"""How far a run is, how long it has taken, and how long it is likely to take still."""

import statistics
import time
from typing import Literal

from inat_ray.log.history import History, TrialHistory
from inat_ray.search.winner import final_training

DAY = 86_400

Phase = Literal["search", "confirmation", "winner's training", "test", "training", "over"]
"""What a run is at; `training` is the whole of a run of `train`."""


def phase_of(history: History) -> Phase:
    """What the run is at, by its last records."""
    if history.run.method == "train":
        return "over" if history.trials_over else "training"
    if history.ended is None:
        return "search"
    if not all(trial.is_over for trial in history.confirming):
        return "confirmation"
    if history.final is not None and not history.final.is_over:
        return "winner's training"
    if final_training(history) is None:
        return "over" if history.looks and history.final is None else "confirmation"
    return "over" if history.look else "test"


def stands_alone(history: History, trial: TrialHistory) -> bool:
    """Whether it is a training by itself: the winner's, or the one of `train`."""
    return trial.purpose == "final" or history.run.method == "train"


def training_alone(history: History) -> TrialHistory | None:
    """The training by itself that the run is at, if it is at one."""
    candidates = [*history.active.values(), *([history.final] if history.final else [])]
    running = (trial for trial in candidates if trial.state == "running")
    return next((trial for trial in running if stands_alone(history, trial)), None)


def done_and_total(history: History) -> tuple[float, float]:
    """In epochs of a training by itself, otherwise in trials of the search."""
    alone = training_alone(history)
    if alone is not None:
        return len(alone.epochs), alone.planned_epochs
    return trials_done(history), history.planned_trials


def trials_done(history: History) -> float:
    """One under way counts by the share of its epochs that is done."""
    shares = (len(trial.epochs) / trial.planned_epochs for trial in history.open.values())
    return history.trials_over + sum(shares)


def epochs_planned(history: History) -> int:
    """Of the search, if no trial were stopped early."""
    started = sum(trial.planned_epochs for trial in history.searched)
    return started + history.run.epochs * max(0, history.planned_trials - len(history.searched))


def seconds_left(history: History, *, now: float) -> float | None:
    """An estimate from the pace so far; None before the first epoch and after the last."""
    alone = training_alone(history)
    if alone is not None:
        return _seconds_left_of_training(alone, now=now)
    return _seconds_left_of_search(history, now=now)


def _seconds_left_of_training(trial: TrialHistory, *, now: float) -> float | None:
    """By the mean time of its epochs; of the one under way what has passed already is off."""
    left = trial.planned_epochs - len(trial.epochs)
    if left <= 0 or not trial.epochs:
        return None
    pace = statistics.mean(epoch.seconds for epoch in trial.epochs)
    return left * pace - min(now - trial.epochs[-1].time, pace)


def _seconds_left_of_search(history: History, *, now: float) -> float | None:
    """In trials, of which one under way counts by the share of its epochs that is done.

    So the estimate learns what early stopping saves. None once the search is over: how long its
    confirmation takes the log does not tell.
    """
    if history.ended is not None:
        return None
    done, total = trials_done(history), history.planned_trials
    return history.seconds_at(now) * (total - done) / done if 0 < done < total else None


def times_text(history: History, *, now: float) -> str:
    """'2:03 gone, about 4:00 left'."""
    gone = f"{duration(history.seconds_at(now))} gone"
    left = seconds_left(history, now=now)
    return gone if left is None else f"{gone}, about {duration(left)} left"


def end_text(history: History, *, now: float) -> str | None:
    """'until 21:43', or 'until Tue 21:43' where that is a day away; None where nothing is known."""
    left = seconds_left(history, now=now)
    if left is None:
        return None
    clock = "%H:%M" if left < DAY else "%a %H:%M"
    return f"until {time.strftime(clock, time.localtime(now + left))}"


def duration(seconds: float) -> str:
    """1:02:03, or 2:03."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
