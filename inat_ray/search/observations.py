"""Makes one ranking, for TPE, of trials that did not all train for as many epochs."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from heapq import merge
from itertools import islice
from operator import itemgetter

from inat_ray.config.search import EarlyStopping
from inat_ray.log.history import BAD, History, TrialHistory
from inat_ray.log.records import TrialState
from inat_ray.search.schedulers import SCHEDULERS, at_rung
from inat_ray.search.tpe import LINEAR_FORGETTING, Observation, good_ones

MAX_OBSERVATIONS = 500
"""The most own trials, and the most known ones: the cost of a suggestion grows with them."""

Rank = tuple[bool, int, float]
"""(whether it is bad, minus the epoch it is compared after, loss there): lower is better."""


def observations(history: History, stopping: EarlyStopping) -> list[Observation]:
    """Returns the search's trials in order of start, each with its place in their ranking as loss.

    Points beyond the limits, which were no trials, are never good: their loss is infinite. A long
    search tells of its best and its newest trials, MAX_OBSERVATIONS at most, and of as many of its
    newest points beyond the limits.
    """
    tried = (
        (trial.number + 1, Observation(trial.parameters, place))
        for trial, place in ranked(history, stopping)
    )
    newest = history.beyond[-MAX_OBSERVATIONS:]
    passed = ((started, Observation(each.parameters, math.inf)) for started, each in newest)
    # Both ascend by how many trials had started, so they merge in the order of suggestion.
    return [observation for _, observation in merge(tried, passed, key=itemgetter(0))]


def ranked(history: History, stopping: EarlyStopping) -> list[tuple[TrialHistory, float]]:
    """Returns the search's trials in order of start, each with its place: 0 the best, 1 the worst.

    Like is compared with like. First come the trials with a score after one and the same epoch, by
    that score: the last epoch that as many trials have reached as TPE takes for good. (BOHB asks
    for one more than there are parameters: Falkner et al., ICML 2018; by that, a search of few
    trials would go by its first rung to the end.) Behind them come trials that were stopped before
    that epoch or have yet to reach it, by the last epoch at which they were compared and the score
    there: told of survivors alone, TPE would take the worse half of the best region for the bad
    one, and keep away from it. Next come trials without a score, which have just begun, so that
    trials that run at the same time spread out. Last come those that failed, diverged, or ran out
    of memory.
    """
    level = level_of_comparison(history, stopping, enough=good_ones(len(history.searched)))
    epochs = [e for e in range(level, 0, -1) if _is_level(history, stopping, e)]
    own = [history.numbered[number] for number in _told(history, level)]
    ranks = [rank(t.state, epochs, score=partial(_score, history, t)) for t in own]
    return list(zip(own, places(ranks), strict=True))


def places(ranks: Sequence[Rank]) -> list[float]:
    """Returns for each rank its place among all, in the middle of an n-th of (0, 1)."""
    order = sorted(range(len(ranks)), key=ranks.__getitem__)
    found = {index: (place + 0.5) / len(ranks) for place, index in enumerate(order)}
    return [found[index] for index in range(len(ranks))]


def level_of_comparison(history: History, stopping: EarlyStopping, *, enough: int) -> int:
    """Returns the last epoch after which `enough` trials, or all that have any, have a score.

    Under successive halving only rungs and the last epoch count: between them are only survivors
    on their way. It is 0 before any epoch.
    """
    counts = {epoch: len(found) for epoch, found in history.standings.scores.items()}
    return last_level(
        {e: n for e, n in counts.items() if n and _is_level(history, stopping, e)}, enough=enough
    )


def last_level(counts: Mapping[int, int], *, enough: int) -> int:
    """Returns the last epoch with `enough` scores, or as many as any epoch has; 0 without one."""
    enough = min(enough, max(counts.values(), default=0))
    return max((epoch for epoch, count in counts.items() if count >= enough), default=0)


def _is_level(history: History, stopping: EarlyStopping, epoch: int) -> bool:
    """Returns whether trials are compared after this epoch."""
    if not SCHEDULERS[stopping.kind].has_rungs:
        return True
    return epoch == history.run.epochs or at_rung(stopping, epoch)


def _told(history: History, level: int) -> list[int]:
    """Returns the numbers of the trials that TPE is told of: possible good ones, and the newest."""
    best = history.standings.best(level, LINEAR_FORGETTING)
    newest = (trial.number for trial in reversed(history.searched))
    return sorted({*best, *islice(newest, MAX_OBSERVATIONS - len(best))})


def rank(state: TrialState, epochs: Iterable[int], *, score: Callable[[int], float | None]) -> Rank:
    """Returns a trial's rank; `epochs` are those at which trials are compared, the last first."""
    if state in BAD:
        return True, 0, 0.0
    scored = ((epoch, score(epoch)) for epoch in epochs)
    return next(((False, -epoch, -s) for epoch, s in scored if s is not None), (False, 0, 0.0))


def _score(history: History, trial: TrialHistory, epoch: int) -> float | None:
    return history.standings.scores.get(epoch, {}).get(trial.number)
