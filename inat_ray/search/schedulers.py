"""The schedulers: which trials end before their last epoch. A new one is one more entry here.

Whatever lists, labels, or asks a scheduler asks its entry: experiments and their JSON Schema, the
search itself, `simulate`, and the report. All are pure functions of (settings, history).
`config/search.py` takes the names from here, so this file loads no other room of the package: it
names their types alone.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import StatisticsError, correlation
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inat_ray.config.search import EarlyStopping
    from inat_ray.log.history import History, TrialHistory
    from inat_ray.log.records import TrialState


LEAST_AGREEMENT = 0.2
"""A rung misleads if Spearman's rank correlation of its scores with the next one's is below."""

FEWEST_COMPARED, MOST_COMPARED = 8, 60
"""Trials of which that correlation is taken."""


@dataclass(frozen=True)
class Scheduler:
    """A way to spend epochs on the better trials."""

    name: str
    """Its name in experiments."""
    meaning: str
    """Explains it to those who write an experiment."""
    summary: Callable[[EarlyStopping], str]
    """Describes it with its settings, for the report."""
    judge: Callable[[EarlyStopping, History, TrialHistory], TrialState]
    """Returns `running`, `paused`, or `stopped` for a trial that has ended an epoch and could
    train another; that epoch is in the history."""
    promote: Callable[[EarlyStopping, History], str | None] = lambda _settings, _history: None
    """Returns the paused trial that continues next, if any."""
    has_rungs: bool = False
    """Whether it compares trials at rungs alone, where the best 1/reduction_factor continue."""


def at_rung(settings: EarlyStopping, epoch: int) -> bool:
    """Returns whether the epoch is one of min_epochs x reduction_factor^k."""
    return epoch in rungs(settings, epoch)


def rungs(settings: EarlyStopping, last: int) -> Iterator[int]:
    """Yields the rungs up to the epoch `last`."""
    rung = settings.min_epochs
    while rung <= last:
        yield rung
        rung *= settings.reduction_factor


def stop_by_halving(settings: EarlyStopping, history: History, trial: TrialHistory) -> TrialState:
    """Stops a trial at a rung unless it is among the best there so far; equals continue together.

    The first to reach a rung continues: ASHA does not wait.
    """
    newest = trial.epochs[-1]
    if not at_rung(settings, newest.epoch):
        return "running"
    score, standings = history.score(newest), history.standings
    if not math.isfinite(score):
        return "stopped"
    most = standings.count(newest.epoch) // settings.reduction_factor
    return "running" if standings.better(newest.epoch, score) < max(1, most) else "stopped"


def pause_at_rungs(settings: EarlyStopping, history: History, trial: TrialHistory) -> TrialState:
    """Pauses a trial at a rung, but for the first ones if they mislead: those are passed."""
    epoch, planned = trial.epochs[-1].epoch, trial.planned_epochs
    if not at_rung(settings, epoch):
        return "running"
    so_far = rungs(settings, epoch)
    pauses = any(not misleads(settings, history, rung, planned=planned) for rung in so_far)
    return "paused" if pauses else "running"


def misleads(settings: EarlyStopping, history: History, rung: int, *, planned: int) -> bool:
    """Returns whether the order of trials at a rung has told little of that at the next one.

    Compared are the newest trials that reached both and are among the best 1/reduction_factor of
    the rung, for it is these that it has to choose. While they are few, it is believed.
    """
    scores, standings = history.standings.scores, history.standings
    here = scores.get(rung, {})
    there = scores.get(min(rung * settings.reduction_factor, planned), {})
    best = len(here) // settings.reduction_factor
    pairs = [
        (here[trial], there[trial])
        for trial in islice(reversed(there), MOST_COMPARED)
        if trial in here and standings.better(rung, here[trial]) < best
    ]
    if len(pairs) < FEWEST_COMPARED:
        return False
    try:
        return correlation(*map(_places, zip(*pairs, strict=True))) < LEAST_AGREEMENT
    except StatisticsError:  # all are alike at one of the two
        return False


def _places(scores: Sequence[float]) -> list[int]:
    """Returns the places in order, those of equals the same (and all of them twice as large)."""
    order = sorted(scores)
    return [bisect_left(order, score) + bisect_right(order, score) for score in scores]


def promote_the_best(settings: EarlyStopping, history: History) -> str | None:
    """Returns a paused trial that is among the best 1/reduction_factor at the highest such rung.

    Li et al., MLSys 2020, algorithm 2.
    """
    for epoch in history.standings.paused_epochs:
        number, rank = history.standings.best_paused(epoch)
        if rank < history.standings.count(epoch) // settings.reduction_factor:
            return history.numbered[number].trial_id
    return None


def next_best(history: History, *, most: int | None) -> str | None:
    """Returns the paused trial that comes nearest to being promoted, if nothing else is left to do.

    It is the one in the best share of its rung; of equals, the one at the highest rung. Only trials
    with a rank below `most` count: with 1, a search ends with a model that was trained to the end,
    even if 1/reduction_factor of a rung is less than one trial. None, for any rank, is for a search
    with a budget to spend.
    """
    found = [
        ((rank + 1) / history.standings.count(epoch), -epoch, number)
        for epoch in history.standings.paused_epochs
        for number, rank in [history.standings.best_paused(epoch)]
        if most is None or rank < most
    ]
    return history.numbered[min(found)[2]].trial_id if found else None


def stop_below_median(settings: EarlyStopping, history: History, trial: TrialHistory) -> TrialState:
    """Stops a trial whose best value is below the median of the others' means so far."""
    epoch, standings = trial.epochs[-1].epoch, history.standings
    if epoch < settings.min_epochs or standings.count(epoch) <= settings.min_trials:
        return "running"
    best = max(s for record in trial.epochs if math.isfinite(s := history.score(record)))
    below = best < standings.median_of_means(epoch, without=trial.number)
    return "stopped" if below else "running"


def _halving_summary(settings: EarlyStopping) -> str:
    return (
        f"{settings.kind}: the best 1/{settings.reduction_factor} continue, first after epoch"
        f" {settings.min_epochs}"
    )


SCHEDULERS = {
    scheduler.name: scheduler
    for scheduler in (
        Scheduler(
            name="asha",
            meaning="asynchronous successive halving (Li et al., MLSys 2020) by stopping: a trial"
            " at a rung continues if it is among the best 1/reduction_factor of those that have"
            " been there so far",
            summary=_halving_summary,
            judge=stop_by_halving,
            has_rungs=True,
        ),
        Scheduler(
            name="asha_promotion",
            meaning="the paper's own form: a trial at a rung is paused, and continues once it is"
            " among the best 1/reduction_factor; its process takes another trial meanwhile. First"
            " rungs whose order has told little of the next one's are passed without a pause",
            summary=_halving_summary,
            judge=pause_at_rungs,
            promote=promote_the_best,
            has_rungs=True,
        ),
        Scheduler(
            name="median",
            meaning="a trial ends if its best value is below the median of the others' means so far"
            " (Golovin et al., KDD 2017)",
            summary=lambda settings: (
                f"median of {settings.min_trials} or more, from epoch {settings.min_epochs}"
            ),
            judge=stop_below_median,
        ),
        Scheduler(
            name="none",
            meaning="every trial trains to its last epoch",
            summary=lambda _: "none",
            judge=lambda _settings, _history, _trial: "running",
        ),
    )
}
