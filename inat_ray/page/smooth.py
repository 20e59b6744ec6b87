"""A smooth of results over places, and what it is worth.

It is a mean of the trials with weights by distance (Nadaraya, 1964; Watson, 1964); what it is worth
is asked of each trial in turn, predicted from all of other configurations.
"""

import numpy as np
from numpy.typing import NDArray

from inat_ray.page.axes import Axis

WIDTHS = (0.08, 0.12, 0.18, 0.27)
"""Standard deviations of the weights, where an axis is 1 long; the best predictor is used."""

FAR = 10
"""The distance between two categories, where another axis is 1 long."""

Floats = NDArray[np.float64]


def stretch(axis: Axis) -> int:
    """Returns how long an axis is: categories are too far apart to tell of each other."""
    return FAR * len(axis.names) or 1


def weights_at(at: Floats, places: Floats, width: float) -> Floats:
    """Returns the weights (m, n) of trials at `places` (n, axes) at each of `at` (m, axes)."""
    distances = ((at[:, None] - places[None]) ** 2).sum(axis=2)
    weights: Floats = np.exp(-0.5 * distances / width**2)
    return weights


def best_smooth(
    places: Floats, scores: Floats, configurations: NDArray[np.int64]
) -> tuple[float, float]:
    """Returns (the share of the scores' variance that the smooth explains, its width).

    `configurations` (n,): the number of each trial's; two at least.
    """
    others = configurations[:, None] != configurations
    return max((_explained(places, scores, others, width), width) for width in WIDTHS)


def _explained(places: Floats, scores: Floats, others: NDArray[np.bool_], width: float) -> float:
    weights = weights_at(places, places, width) * others
    sums, means = weights.sum(axis=1), others @ scores / others.sum(axis=1)
    # A trial far from all others is predicted by the mean of the others.
    alone = sums < 1e-6
    predicted = np.where(alone, means, weights @ scores / np.where(alone, 1, sums))
    return float(1 - ((scores - predicted) ** 2).sum() / ((scores - means) ** 2).sum())
