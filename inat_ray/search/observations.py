"""Makes one ranking, for TPE, of trials that did not all train for as many epochs."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from heapq import merge
from itertools import islice
from operator import itemgetter

from inat_ray.config.search import EarlyStopping
from inat_ray.log.history import BAD, History, TrialHistory
from inat_ray.log.records import TrialKnown, TrialState
from inat_ray.search.schedulers import SCHEDULERS, at_rung
from inat_ray.search.tpe import LINEAR_FORGETTING, Observation, good_ones

MAX_OBSERVATIONS = 500
"""The most own trials, and the most known ones: the cost of a suggestion grows with them."""

Rank = tuple[bool, int, float]
"""(whether it is bad, minus the epoch it is compared after, loss there): lower is better."""


def observations(history: History, stopping: EarlyStopping) -> list[Observation]:
    """Returns known trials, then the search's own in order of start, each with its rank as loss.

    Like is compared with like. First come the trials with a score after one and the same epoch, by
    that score: the last epoch that as many trials have reached as TPE takes for good. (BOHB asks
    for one more than there are parameters: Falkner et al., ICML 2018; by that, a search of few
    trials would go by its first rung to the end.) Behind them come trials that were stopped before
    that epoch or have yet to reach it, by the last epoch at which they were compared and the score
    there: told of survivors alone, TPE would take the worse half of the best region for the bad
    one, and keep away from it. Next come trials without a score, which have just begun, so that
    trials that run at the same time spread out. Last come those that failed, diverged, or ran out
    of memory. Points beyond the limits, which were no trials, are never good: their loss is
    infinite.

    A long search tells of its best and its newest trials, MAX_OBSERVATIONS at most, and of as many
    of its newest points beyond the limits.
    """
    enough = good_ones(len(history.known) + len(history.searched))
    level = level_of_comparison(history, stopping, enough=enough)
    epochs = [e for e in range(level, 0, -1) if _is_level(history, stopping, e)]
    known = history.known[-MAX_OBSERVATIONS:]
    own = [history.numbered[number] for number in _told(history, level)]
    ranks = [_rank(t.state, epochs, score=partial(_known_score, history, t)) for t in known]
    ranks += [_rank(t.state, epochs, score=partial(_own_score, history, t)) for t in own]
    order = sorted(range(len(ranks)), key=ranks.__getitem__)
    losses = {index: float(place) for place, index in enumerate(order)}
    points = [t.parameters for t in known] + [t.parameters for t in own]
    told = [Observation(point, losses[index]) for index, point in enumerate(points)]
    tried = ((t.number + 1, o) for t, o in zip(own, told[len(known) :], strict=True))
    newest = history.beyond[-MAX_OBSERVATIONS:]
    passed = ((started, Observation(each.parameters, math.inf)) for started, each in newest)
    # Both ascend by how many trials had started, so they merge in the order of suggestion.
    in_order = merge(tried, passed, key=itemgetter(0))
    return [*told[: len(known)], *(observation for _, observation in in_order)]


def level_of_comparison(history: History, stopping: EarlyStopping, *, enough: int) -> int:
    """Returns the last epoch after which `enough` trials, or all that have any, have a score.

    Under successive halving only rungs and the last epoch count: between them are only survivors
    on their way. It is 0 before any epoch.
    """
    counts = Counter({epoch: len(found) for epoch, found in history.standings.scores.items()})
    for trial in history.known[-MAX_OBSERVATIONS:]:
        counts.update(range(1, len(trial.values) + 1))
    levels = {e: n for e, n in counts.items() if n and _is_level(history, stopping, e)}
    enough = min(enough, max(levels.values(), default=0))
    return max((epoch for epoch, count in levels.items() if count >= enough), default=0)


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


def _rank(
    state: TrialState, epochs: Iterable[int], *, score: Callable[[int], float | None]
) -> Rank:
    """Returns a trial's rank; `epochs` are those at which trials are compared, the last first."""
    if state in BAD:
        return True, 0, 0.0
    scored = ((epoch, score(epoch)) for epoch in epochs)
    return next(((False, -epoch, -s) for epoch, s in scored if s is not None), (False, 0, 0.0))


def _own_score(history: History, trial: TrialHistory, epoch: int) -> float | None:
    return history.standings.scores.get(epoch, {}).get(trial.number)


def _known_score(history: History, trial: TrialKnown, epoch: int) -> float | None:
    value = trial.values[epoch - 1] if epoch <= len(trial.values) else math.nan
    return history.turned(value) if math.isfinite(value) else None
