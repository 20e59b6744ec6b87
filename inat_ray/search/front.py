"""The Pareto front of a search: the trials that are the best for what they cost."""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

from inat_ray.log.costs import Cost, telling_costs
from inat_ray.log.history import History, TrialHistory

Fronts = list[tuple[Cost, list[TrialHistory]]]
"""Each cost with the trials on its front."""


LEAST_RATIO = 1.1
"""The dearest to the cheapest trial; less, as between times of one network, leaves no choice."""


def front(history: History, cost: Cost) -> list[TrialHistory]:
    """Returns the trials that no other one equals or beats in score and cost, and beats in one.

    The cheapest is first, so the best is last; trials that are equal in both are all there. One
    whose score is not of a whole stretch, or whose cost is not known, is not on the front and beats
    nobody: what it would be worth was not found out.
    """
    known = [
        (amount, score.value, trial)
        for trial in history.searched
        if (score := history.score_of(trial)) is not None and score.whole
        if (amount := cost.of(trial)) is not None
    ]
    found: list[TrialHistory] = []
    best = None
    for _, alike in groupby(sorted(known, key=itemgetter(0)), key=itemgetter(0)):
        points = list(alike)
        highest = max(score for _, score, _ in points)
        if best is None or highest > best:
            best = highest
            found += [trial for _, score, trial in points if score == highest]
    return found


def fronts(history: History) -> Fronts:
    """Returns the front against each cost in which the trials with a result differ enough."""
    trials = history.leaderboard()
    costs = [cost for cost in telling_costs(trials) if _ratio(cost, trials) >= LEAST_RATIO]
    found = ((cost, front(history, cost)) for cost in costs)
    return [(cost, best) for cost, best in found if best]


def _ratio(cost: Cost, trials: Sequence[TrialHistory]) -> float:
    known = [amount for trial in trials if (amount := cost.of(trial)) is not None]
    return max(known) / min(known)
