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
from scipy.stats import norm, spearmanr
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

from inat_ray.config.distributions import canonical
from inat_ray.log.records import JSON
from inat_ray.search.telling import ordered

LEAST_TRIALS = 10
"""Fewer say nothing about several hyperparameters."""

BOOTSTRAPS = 30
TREES = 24
PERMUTATIONS = 3
"""Of each hyperparameter's column in each bootstrap sample."""

ABSENT = -1.0
"""Stands for a hyperparameter whose condition a trial does not meet: below every place."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Importance:
    """One hyperparameter's share of the variance of the scores."""

    name: str
    mean: float
    """What the forest's explained variance on unseen trials loses without it."""
    sd: float
    """Between the bootstrap samples."""

    @property
    def interval(self) -> tuple[float, float]:
        """Returns the 95 % interval: bootstrap samples vary as the estimate does."""
        return self.mean - 1.96 * self.sd, self.mean + 1.96 * self.sd


@dataclass(frozen=True)
class Importances:
    parameters: list[Importance]
    """The most important first."""
    explained: float
    """Share of the variance of unseen trials' scores that the forest explains, mean over the
    bootstrap samples; where it is not above 0 the importances mean nothing."""


def importances(
    points: Sequence[Mapping[str, JSON]], scores: Sequence[float]
) -> Importances | None:
    """Returns the importance of each hyperparameter that varies; None if the trials cannot tell.

    `points`: the trials' hyperparameters, `scores` their finite results.
    """
    values = np.asarray(scores, dtype=np.float64)
    columns = varied_columns(points)
    groups = by_configuration(points)
    if different(points) < LEAST_TRIALS or not columns or np.ptp(values) == 0:
        return None
    inputs = np.column_stack(list(columns.values()))
    rng = np.random.default_rng(0)
    samples = [_one_sample(inputs, values, groups, rng) for _ in range(BOOTSTRAPS)]
    losses = np.array([loss for loss, _ in samples])
    means, sds = losses.mean(axis=0).tolist(), losses.std(axis=0, ddof=1).tolist()
    found = [Importance(*each) for each in zip(columns, means, sds, strict=True)]
    return Importances(
        parameters=sorted(found, key=lambda importance: -importance.mean),
        explained=float(np.mean([explained for _, explained in samples])),
    )


def by_configuration(points: Sequence[Mapping[str, JSON]]) -> NDArray[np.int64]:
    """Returns the number (n,) of each trial's configuration, from 0 on by its first trial.

    Seeds of one are left out together where trials are predicted, or they would give each other
    away.
    """
    texts = [canonical(dict(point)) for point in points]
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return np.array([numbers[text] for text in texts], dtype=np.int64)


def different(points: Sequence[Mapping[str, JSON]]) -> int:
    """Returns how many different configurations there are."""
    return len(set(by_configuration(points).tolist()))


def _one_sample(
    inputs: Floats, values: Floats, groups: NDArray[np.int64], rng: np.random.Generator
) -> tuple[Floats, float]:
    """Returns the loss without each column (parameters,) and the variance a forest explains."""
    count = int(groups.max()) + 1
    chosen = rng.integers(0, count, count)
    drawn = np.concatenate([np.flatnonzero(groups == group) for group in chosen])
    unseen = np.setdiff1d(np.arange(len(values)), drawn)
    if len(unseen) < 2 or np.ptp(values[unseen]) == 0:  # there is no variance to explain
        return _one_sample(inputs, values, groups, rng)
    forest = RandomForestRegressor(
        TREES,
        min_samples_leaf=2,
        random_state=int(rng.integers(2**31)),
        bootstrap=False,
        max_features=0.5,
    )
    forest.fit(inputs[drawn], values[drawn])
    found = permutation_importance(
        forest,
        inputs[unseen],
        values[unseen],
        n_repeats=PERMUTATIONS,
        random_state=int(rng.integers(2**31)),
    )
    return found.importances_mean, forest.score(inputs[unseen], values[unseen])


def varied_columns(points: Sequence[Mapping[str, JSON]]) -> dict[str, Floats]:
    """Returns name -> places (n,) of its values in order, for what differs between the trials.

    A forest asks for nothing but the order, so a log scale makes no difference.
    """
    columns = {}
    for name in dict.fromkeys(name for point in points for name in point):
        given = [i for i, point in enumerate(points) if name in point]
        column = np.full(len(points), ABSENT)
        _, column[given] = ordered([points[i][name] for i in given])
        if np.ptp(column) > 0:
            columns[name] = column
    return columns


def rank_correlation(
    points: Sequence[Mapping[str, JSON]], scores: Sequence[float], *, name: str
) -> tuple[float, int] | None:
    """Returns Spearman's correlation of a hyperparameter with the score, and its number of trials.

    None for a category, which has no order, for a constant, and for fewer than 3 trials.
    """
    pairs = [
        (point[name], score) for point, score in zip(points, scores, strict=True) if name in point
    ]
    if len(pairs) < 3 or not all(isinstance(value, int | float) for value, _ in pairs):
        return None
    columns = np.array(pairs, dtype=np.float64)
    if np.ptp(columns, axis=0).min() == 0:
        return None
    return float(spearmanr(columns).statistic), len(pairs)


def correlation_interval(correlation: float, trials: int) -> tuple[float, float] | None:
    """Returns the 95 % interval of a rank correlation by Fisher's transformation.

    None for few trials. The standard error for ranks is 1.03 / sqrt(n - 3) (Fieller, Hartley &
    Pearson, 1957); scipy's interval is for Pearson's correlation, with 1 / sqrt(n - 3).
    """
    if trials < LEAST_TRIALS or abs(correlation) == 1:
        return None
    half = 1.96 * 1.03 / np.sqrt(trials - 3)
    low, high = np.tanh(np.arctanh(correlation) + np.array([-half, half]))
    return float(low), float(high)


def evidence(correlation: float, trials: int) -> float:
    """Returns how many standard errors a rank correlation is from 0, whatever its sign."""
    distance = abs(np.arctanh(np.clip(correlation, -0.99, 0.99)))
    return float(distance * np.sqrt(max(0, trials - 3)) / 1.03)


def telling_trials(points: Sequence[Mapping[str, JSON]], scores: Sequence[float]) -> int:
    """Returns how many trials would tell the clearest rank correlation from chance.

    That is at a level of 5 % over all hyperparameters (Bonferroni), if it is as strong as it looks;
    at least 10 for each hyperparameter, the usual rule for a regression, and more than there are.
    """
    names = list(varied_columns(points))
    pairs = [p for name in names if (p := rank_correlation(points, scores, name=name))]
    clearest = max(pairs, key=lambda pair: evidence(*pair), default=(0.0, 0))
    strongest = min(0.99, abs(clearest[0]))
    z = float(norm.ppf(1 - 0.025 / max(1, len(names))))
    wanted = 3 + (1.03 * z / np.arctanh(strongest)) ** 2 if strongest > 0 else 0.0
    least = max(float(wanted), 10.0 * len(names), 1.5 * len(points))
    return int(np.ceil(least / 10) * 10)
