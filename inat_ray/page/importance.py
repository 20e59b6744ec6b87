"""Which hyperparameters mattered: how much worse a forest predicts a trial without knowing one.

A random forest learns the trials' scores from their hyperparameters, as in Hutter,
Hoos & Leyton-Brown (ICML 2014); what a hyperparameter is worth to it is measured by permutation
(Breiman, 2001) on trials that the forest has not seen. Bootstrap samples of the trials give the
spread: with few trials it is wide, and says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestRegressor

from inat_ray.config.distributions import canonical
from inat_ray.log.records import JSON

LEAST_TRIALS = 10
"""Fewer say nothing about several hyperparameters."""

BOOTSTRAPS = 30
TREES = 24
PERMUTATIONS = 3
"""Of each hyperparameter's column in each bootstrap sample."""

ABSENT = -1.0
"""Of a hyperparameter whose condition a trial does not meet: below every place."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Importance:
    """Of one hyperparameter; shares of the variance of the scores."""

    name: str
    mean: float
    """What the forest's explained variance on unseen trials loses without it."""
    sd: float
    """Over the bootstrap samples."""


@dataclass(frozen=True)
class Importances:
    parameters: list[Importance]
    """The most important first."""
    explained: float
    """Share of the variance of unseen trials' scores that the forest explains, mean over the
    bootstrap samples; where it is not above 0 the importances mean nothing."""
    trials: int


def importances(
    points: Sequence[Mapping[str, JSON]], scores: Sequence[float], *, seed: int = 0
) -> Importances | None:
    """Importance of each hyperparameter that varies; None where the trials cannot tell.

    `points`: the trials' hyperparameters, `scores` their finite results.
    """
    values = np.asarray(scores, dtype=np.float64)
    columns = varied_columns(points)
    if len(points) < LEAST_TRIALS or not columns or np.ptp(values) == 0:
        return None
    inputs = np.column_stack(list(columns.values()))
    rng = np.random.default_rng(seed)
    samples = [_one_sample(inputs, values, rng) for _ in range(BOOTSTRAPS)]
    losses = np.array([loss for loss, _ in samples])
    found = [
        Importance(name, mean=float(mean), sd=float(sd))
        for name, mean, sd in zip(
            columns, losses.mean(axis=0), losses.std(axis=0, ddof=1), strict=True
        )
    ]
    return Importances(
        parameters=sorted(found, key=lambda importance: -importance.mean),
        explained=float(np.mean([explained for _, explained in samples])),
        trials=len(points),
    )


def rank_correlation(
    points: Sequence[Mapping[str, JSON]], scores: Sequence[float], *, name: str
) -> tuple[float, int] | None:
    """Spearman's rank correlation of a hyperparameter with the score, and the trials it is from.

    None where it has an order in no sense: a category, a constant, or fewer than 3 trials with it.
    """
    pairs = [
        (point[name], score) for point, score in zip(points, scores, strict=True) if name in point
    ]
    if len(pairs) < 3 or not all(isinstance(value, bool | int | float) for value, _ in pairs):
        return None
    ranks = np.array([rankdata(column) for column in zip(*pairs, strict=True)])
    if np.ptp(ranks, axis=1).min() == 0:
        return None
    return float(np.corrcoef(ranks)[0, 1]), len(pairs)


def correlation_interval(correlation: float, trials: int) -> tuple[float, float] | None:
    """95 % interval of a rank correlation by Fisher's transformation; None for few trials.

    Its standard error for ranks is 1.03 / sqrt(n - 3) (Fieller, Hartley & Pearson, 1957).
    """
    if trials < LEAST_TRIALS or abs(correlation) == 1:
        return None
    half = 1.96 * 1.03 / np.sqrt(trials - 3)
    low, high = np.tanh(np.arctanh(correlation) + np.array([-half, half]))
    return float(low), float(high)


def varied_columns(points: Sequence[Mapping[str, JSON]]) -> dict[str, Floats]:
    """Name -> places (n,) of its values in order; only of what differs between the trials."""
    names = dict.fromkeys(name for point in points for name in point)
    columns = {name: _places([point.get(name, _NOTHING) for point in points]) for name in names}
    return {name: column for name, column in columns.items() if np.ptp(column) > 0}


_NOTHING = object()


def _places(values: Sequence[JSON]) -> Floats:
    """Of each value among the different ones: numbers by size, all else by its text.

    A forest asks for nothing but the order, so a log scale makes no difference.
    """
    given = [value for value in values if value is not _NOTHING]
    numbers = all(isinstance(value, bool | int | float) for value in given)
    keys = [value if numbers or value is _NOTHING else canonical(value) for value in values]
    order = {key: float(place) for place, key in enumerate(sorted(set(keys) - {_NOTHING}))}
    return np.array([order.get(key, ABSENT) for key in keys])


def _one_sample(inputs: Floats, values: Floats, rng: np.random.Generator) -> tuple[Floats, float]:
    """Of one bootstrap sample: the loss of each column (parameters,), the variance explained."""
    drawn = rng.integers(0, len(values), len(values))
    unseen = np.setdiff1d(np.arange(len(values)), drawn)
    if len(unseen) < 2 or np.ptp(values[unseen]) == 0:
        return _one_sample(inputs, values, rng)
    forest = RandomForestRegressor(
        TREES,
        min_samples_leaf=2,
        random_state=int(rng.integers(2**31)),
        bootstrap=False,
        max_features=0.5,
    )
    forest.fit(inputs[drawn], values[drawn])
    error = _error(forest, inputs[unseen], values[unseen])
    losses = [
        _error_without(forest, inputs[unseen], values[unseen], column=column, rng=rng) - error
        for column in range(inputs.shape[1])
    ]
    variance = float(values[unseen].var())
    return np.array(losses) / variance, 1 - error / variance


def _error(forest: RandomForestRegressor, inputs: Floats, values: Floats) -> float:
    """Mean square."""
    return float(np.mean((forest.predict(inputs) - values) ** 2))


def _error_without(
    forest: RandomForestRegressor,
    inputs: Floats,
    values: Floats,
    *,
    column: int,
    rng: np.random.Generator,
) -> float:
    """With the column shuffled, so that it is one but says nothing; in one call of the forest."""
    shuffled = np.tile(inputs, (PERMUTATIONS, 1, 1))
    for copy in shuffled:
        rng.shuffle(copy[:, column])
    flat = shuffled.reshape(-1, inputs.shape[1])
    return _error(forest, flat, np.tile(values, PERMUTATIONS))
