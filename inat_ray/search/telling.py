"""Which hyperparameters of a search tell most of its results, for what has no room for all."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from inat_ray.config.distributions import canonical
from inat_ray.config.space import SEED
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import JSON

MOST_GROUPS, LEAST_IN_A_GROUP = 5, 4
"""Into how many groups of like size numbers are put, and how many trials a group needs."""

LEAST, MOST = 8, 256
"""The fewest trials that tell anything, and the most that are asked."""

LEARNING_RATE = "recipe.lr"
"""Stands first where nothing is known: it matters in most networks."""


def telling_parameters(history: History, *, steady: bool = False) -> list[str]:
    """Returns the parameters in which trials differ, those first that tell most of the results.

    All of them where no two trials have begun. The seed is none. `steady`: the order changes only
    where twice as many trials are over as when it did last, for a table that is drawn again.
    """
    begun = history.searched[:MOST]
    points = [trial.parameters for trial in begun]
    few = len(points) < (LEAST if steady else 2)
    names = [n for n in history.run.parameters if n != SEED and (few or _differs(points, n))]
    told = _first_to_end(begun) if steady else begun
    ranks = [(trial.parameters, history.ranking.rank(trial.number)) for trial in told]
    scored = [(point, -float(rank)) for point, rank in ranks if rank is not None]
    worth = {name: (-share_explained(scored, name), name != LEARNING_RATE) for name in names}
    return sorted(names, key=worth.__getitem__)


def share_explained(scored: Sequence[tuple[Mapping[str, JSON], float]], name: str) -> float:
    """Returns the share of the variance of scores that groups of like values explain.

    It is epsilon squared (Kelley, 1935), which is 0 in the mean where a parameter tells nothing;
    of a parameter that exists for some trials alone, by their share. It is -inf where all values
    are the same, or all results. `scored`: points and scores.
    """
    given = [(point[name], score) for point, score in scored if name in point]
    if len(scored) < LEAST or len(given) < 3:
        return -math.inf
    groups = _groups([value for value, _ in given])
    scores = np.array([score for _, score in given])
    sizes = np.bincount(groups)
    means = np.bincount(groups, scores) / sizes
    whole, left = ((scores - scores.mean()) ** 2).sum(), ((scores - means[groups]) ** 2).sum()
    freedom = len(given) - len(sizes)
    if whole == 0 or freedom == 0 or len(sizes) == 1:
        return -math.inf
    explained = 1 - (left / freedom) / (whole / (len(given) - 1))
    return float(explained) * len(given) / len(scored)


def ordered(values: Sequence[JSON]) -> tuple[list[JSON], NDArray[np.int64]]:
    """Returns the different values in order, and the place (n,) of each value among them.

    Numbers are ordered by size, all else by its text.
    """
    keys = np.array(values if _are_numbers(values) else [canonical(value) for value in values])
    _, first, places = np.unique(keys, return_index=True, return_inverse=True)
    return [values[i] for i in first], places


def _first_to_end(trials: list[TrialHistory]) -> list[TrialHistory]:
    """Returns the first 8, 16, 32 ... trials that were over."""
    over = sorted((t for t in trials if t.is_over and t.epochs), key=lambda t: t.epochs[-1].time)
    return over[: 1 << len(over).bit_length() >> 1]


def _differs(points: Sequence[Mapping[str, JSON]], name: str) -> bool:
    return len({canonical(point[name]) if name in point else None for point in points}) > 1


def _groups(values: Sequence[JSON]) -> NDArray[np.int64]:
    """Returns the group (n,) of each value, from 0: the value itself, or a part of the numbers."""
    _, places = ordered(values)
    most = min(MOST_GROUPS, max(2, len(values) // LEAST_IN_A_GROUP))
    if _are_numbers(values) and places.max() >= most:
        # Equal numbers stay together, at the rank of the first of them.
        places = np.searchsorted(np.sort(places), places) * most // len(values)
    return np.unique(places, return_inverse=True)[1]


def _are_numbers(values: Sequence[JSON]) -> bool:
    return all(isinstance(value, int | float) for value in values)
