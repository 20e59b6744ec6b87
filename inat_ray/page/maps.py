"""Maps of the result over two hyperparameters: a smooth of the trials, where there are trials.

The smooth is a mean of the trials with weights by distance (Nadaraya, 1964; Watson, 1964). What it
is worth is asked of each trial in turn, predicted from all others; pairs for which that explains
nothing are not drawn.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from inat_ray.page.axes import Axis
from inat_ray.page.figure import SHADES, Figure, Key, Plot
from inat_ray.page.marks import Box, Cells, Dot
from inat_ray.page.scored import Scored, jitter
from inat_ray.terminal.words import metric_text

LEAST_TRIALS = 25
"""Fewer do not fill a plane."""

MOST_TRIALS = 1000
"""More, the newest, would take longer than they tell."""

CANDIDATES = 5
"""The most telling hyperparameters, of which pairs are made."""

MOST_MAPS = 3
LEAST_EXPLAINED = 0.05
WIDTHS = (0.08, 0.12, 0.18, 0.27)
"""Standard deviations of the weights, where an axis is 1 long; the best predictor is used."""

CELLS = 40
"""Along each axis of a map."""

REACH = 1.5
"""A map ends at so many widths from the nearest trial."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Pair:
    axes: tuple[Axis, Axis]
    places: Floats
    """(trials, 2), between 0 and 1."""
    trials: list[int]
    width: float
    explained: float
    """Share of the results' variance that the others explain, each trial left out in turn."""


def maps_figure(scored: Scored) -> Figure | None:
    """Draws the pairs of hyperparameters that tell most; None where none tells anything."""
    names = scored.telling[:CANDIDATES]
    found = [pair for a, b in combinations(names, 2) if (pair := _pair(scored, a, b))]
    shown = sorted(found, key=lambda pair: -pair.explained)[:MOST_MAPS]
    if not shown or shown[0].explained < LEAST_EXPLAINED:
        return None
    shown = [pair for pair in shown if pair.explained >= LEAST_EXPLAINED]
    surfaces = [_surface(scored, pair) for pair in shown]
    low, high = (float(f([f(surface) for surface in surfaces])) for f in (np.nanmin, np.nanmax))
    if scored.turned != scored.scores:
        low, high = high, low
    caption = (
        "The mean result around each place, by the trials near it (dots); empty where none is near."
        f" n = {min(len(p.trials) for p in shown)} to {max(len(p.trials) for p in shown)} trials."
        " In percent, how much of the results' variance a map explains, each trial left out in"
        " turn: a pair's map may show one of the two alone."
    )
    keys = [Key(metric_text(scored.metric, low), "shades", other=metric_text(scored.metric, high))]
    return Figure(
        "maps",
        f"Maps of the result over {len(shown)} pairs of hyperparameters",
        {"": [_map(scored, p, s, (low, high)) for p, s in zip(shown, surfaces, strict=True)]},
        caption,
        least=290,
        keys=keys,
    )


def _pair(scored: Scored, a: str, b: str) -> _Pair | None:
    trials = [i for i, p in enumerate(scored.points) if a in p and b in p][-MOST_TRIALS:]
    if len(trials) < LEAST_TRIALS:
        return None
    axes, columns = [], []
    for name in (a, b):
        axis, values = scored.axis(name)
        at = dict(zip(scored.given(name)[0], values, strict=True))
        axes.append(axis)
        columns.append([axis.at(at[i]) for i in trials])
    places = np.array(columns).T
    scores = np.array([scored.scores[i] for i in trials])
    if np.ptp(scores) == 0 or np.ptp(places, axis=0).min() == 0:
        return None
    explained, width = max((_explained(places, scores, width), width) for width in WIDTHS)
    return _Pair((axes[0], axes[1]), places, trials, width, explained)


def _weights(at: Floats, places: Floats, width: float) -> Floats:
    """Returns (places, trials): the weight of each trial at each place."""
    distances = ((at[:, None] - places[None]) ** 2).sum(axis=2)
    weights: Floats = np.exp(-0.5 * distances / width**2)
    return weights


def _explained(places: Floats, scores: Floats, width: float) -> float:
    weights = _weights(places, places, width)
    np.fill_diagonal(weights, 0)
    sums = weights.sum(axis=1)
    # A trial far from all others is predicted by the mean of the others.
    others = (scores.sum() - scores) / (len(scores) - 1)
    alone = sums < 1e-6
    predicted = np.where(alone, others, weights @ scores / np.where(alone, 1, sums))
    return float(1 - ((scores - predicted) ** 2).sum() / ((scores - others) ** 2).sum())


def _map(scored: Scored, pair: _Pair, surface: Floats, ends: tuple[float, float]) -> Plot:
    x, y = pair.axes
    plot = Plot(x, y, height=300, title=f"{100 * pair.explained:.0f} % explained")
    plot.add(*_cells(pair, surface, ends))
    for place, (a, b) in zip(pair.trials, pair.places.tolist(), strict=True):
        trial = scored.trial_ids[place]
        spot = [
            _value(axis, at) + (0.4 * jitter(place + k) if axis.names else 0)
            for k, (axis, at) in enumerate(((x, a), (y, b)))
        ]
        plot.add(
            Dot(
                spot[0],
                spot[1],
                "var(--ink)",
                "circle",
                1.8,
                trial=trial,
                ring="var(--ink)" if trial == scored.winner else "",
            )
        )
    return plot


def _value(axis: Axis, at: float) -> float:
    """Returns the value at a place of the axis, between 0 and 1."""
    if axis.logarithmic:
        return float(axis.low * (axis.high / axis.low) ** at)
    return axis.low + at * (axis.high - axis.low)


def _surface(scored: Scored, pair: _Pair) -> Floats:
    """Returns (CELLS, CELLS), a row a place of y: the mean there, NaN where no trial is near."""
    middles = (np.arange(CELLS) + 0.5) / CELLS
    at = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
    weights = _weights(at, pair.places, pair.width)
    scores = np.array([scored.scores[i] for i in pair.trials])
    near = weights.max(axis=1) >= np.exp(-0.5 * REACH**2)
    means = np.where(near, weights @ scores / np.where(near, weights.sum(axis=1), 1), np.nan)
    return means.reshape(CELLS, CELLS)


def _cells(pair: _Pair, surface: Floats, ends: tuple[float, float]) -> Iterator[Cells]:
    """Yields the map, a shade at a time; neighbors of one shade in a row are one box."""
    low, high = ends
    steps = (surface - low) / ((high - low) or 1) * len(SHADES)
    shades = np.where(np.isnan(steps), -1, np.clip(np.nan_to_num(steps), 0, len(SHADES) - 1))
    for shade, (color, opacity) in enumerate(SHADES):
        boxes = [
            Box(_spot(pair, start, row), _spot(pair, end, row + 1), color, opacity=opacity)
            for row, line in enumerate(shades.astype(int))
            for start, end in _runs(line, shade)
        ]
        if boxes:
            yield Cells(boxes)


def _runs(line: NDArray[np.int64], shade: int) -> list[tuple[int, int]]:
    """Returns where the cells of a row have this shade: from, up to."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], line == shade, [0]]).astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _spot(pair: _Pair, column: int, row: int) -> tuple[float, float]:
    """Returns the values at a corner of the cells."""
    x, y = pair.axes
    return _value(x, column / CELLS), _value(y, row / CELLS)
