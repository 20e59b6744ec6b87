"""The Pareto front of a search: the trials that are the best for what they cost."""

from itertools import groupby

from inat_ray.log.costs import Cost, telling_costs
from inat_ray.log.history import History, TrialHistory


def front(history: History, cost: Cost) -> list[TrialHistory]:
    """Returns the trials that no other one equals or beats in score and cost, and beats in one.

    The cheapest is first, so the best is last; trials that are equal in both are all there. A trial
    without a score, or whose cost is not known, is not on the front and beats nobody.
    """
    known = [
        (amount, score, trial)
        for trial in history.searched
        if (score := history.score_of(trial)) and (amount := cost.of(trial)) is not None
    ]
    found: list[TrialHistory] = []
    best = None
    for _, alike in groupby(sorted(known, key=lambda point: point[0]), key=lambda point: point[0]):
        points = list(alike)
        score = max(score for _, score, _ in points)
        if best is None or score > best:
            best = score
            found += [trial for _, each, trial in points if each == score]
    return found


def fronts(history: History) -> list[tuple[Cost, list[TrialHistory]]]:
    """Returns the front against each cost in which the trials with a result differ."""
    return [(cost, front(history, cost)) for cost in telling_costs(history.leaderboard())]
