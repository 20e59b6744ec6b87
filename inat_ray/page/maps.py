"""Maps of the result over two hyperparameters: a smooth of the trials, where there are trials.

Pairs for which it explains nothing are not drawn.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from inat_ray.config.metrics import METRICS
from inat_ray.page.axes import Axis
from inat_ray.page.figure import SCREEN, SHADES, Figure, Key, Plot
from inat_ray.page.importance import by_configuration
from inat_ray.page.marks import Box, Cells, Dot
from inat_ray.page.scored import Scored, jitter
from inat_ray.page.smooth import Floats, best_smooth, stretch, weights_at
from inat_ray.terminal.words import metric_text, span_text

LEAST_CONFIGURATIONS = 25
"""Fewer do not fill a plane."""

MOST_TRIALS = 1000
"""More, the newest, would take longer than they tell."""

CANDIDATES = 5
"""The most telling hyperparameters, of which pairs are made."""

MOST_MAPS = 3
LEAST_EXPLAINED = 0.05
CELLS = 40
"""Along each axis of a map; on one of categories, a cell each."""

REACH = 1.5
"""A map ends at so many widths from the nearest trial."""


@dataclass(frozen=True)
class _Pair:
    axes: tuple[Axis, Axis]
    places: Floats
    """(trials, 2), between 0 and the length of each axis."""
    trials: list[int]
    width: float
    explained: float
    """Share of the variance that the others explain, each configuration left out in turn."""


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
    low, high = sorted((low, high), key=METRICS[scored.metric].score)
    counts = span_text(len(pair.trials) for pair in shown)
    caption = (
        f"n = {counts} trials (dots), stopped ones with what they had. Shades: the mean result"
        " around each place, by the trials near it; empty where none is."
        " In percent, how much of the results' variance a map explains, each configuration left out"
        " in turn with all its seeds: it may owe that to one of its two alone."
    )
    keys = [Key(metric_text(scored.metric, low), "shades", other=metric_text(scored.metric, high))]
    label = f"Maps of the result over {len(shown)} pairs of hyperparameters"
    drawn = [_map(scored, p, s, (low, high)) for p, s in zip(shown, surfaces, strict=True)]
    width = SCREEN * len(shown) // MOST_MAPS
    return Figure("maps", label, {"": drawn}, caption, least=250, screen=width, keys=keys)


def _pair(scored: Scored, a: str, b: str) -> _Pair | None:
    trials = [i for i, p in enumerate(scored.points) if a in p and b in p][-MOST_TRIALS:]
    configurations = by_configuration([scored.points[i] for i in trials])
    if len(set(configurations.tolist())) < LEAST_CONFIGURATIONS:
        return None
    axes = [scored.axis(name)[0] for name in (a, b)]
    stands = [scored.places(name) for name in (a, b)]
    places = np.array([[place[i] for i in trials] for place in stands]).T
    scores = np.array([scored.scores[i] for i in trials])
    if np.ptp(scores) == 0 or np.ptp(places, axis=0).min() == 0:
        return None
    explained, width = best_smooth(places, scores, configurations)
    return _Pair((axes[0], axes[1]), places, trials, width, explained)


def _map(scored: Scored, pair: _Pair, surface: Floats, ends: tuple[float, float]) -> Plot:
    x, y = pair.axes
    plot = Plot(x, y, height=300, title=f"{100 * pair.explained:.0f} % explained")
    plot.add(*_cells(pair, surface, ends))
    for place, (a, b) in zip(pair.trials, pair.places.tolist(), strict=True):
        trial = scored.trial_ids[place]
        across, up = (
            _value(axis, at / stretch(axis)) + (0.4 * jitter(place + k) if axis.names else 0)
            for k, (axis, at) in enumerate(((x, a), (y, b)))
        )
        ringed = trial == scored.winner
        plot.add(Dot(across, up, "var(--ink)", size=1.8, trial=trial, ringed=ringed))
    return plot


def _value(axis: Axis, at: float) -> float:
    """Returns the value at a place of the axis, between 0 and 1."""
    if axis.logarithmic:
        return float(axis.low * (axis.high / axis.low) ** at)
    return axis.low + at * (axis.high - axis.low)


def _surface(scored: Scored, pair: _Pair) -> Floats:
    """Returns the mean at each cell, a row a place of y; NaN where no trial is near."""
    counts = [len(axis.names) or CELLS for axis in pair.axes]
    middles = [
        (np.arange(count) + 0.5) / count * stretch(axis)
        for count, axis in zip(counts, pair.axes, strict=True)
    ]
    at = np.stack(np.meshgrid(*middles), axis=-1).reshape(-1, 2)
    weights = weights_at(at, pair.places, pair.width)
    scores = np.array([scored.scores[i] for i in pair.trials])
    near = weights.max(axis=1) >= np.exp(-0.5 * REACH**2)
    means = np.where(near, weights @ scores / np.where(near, weights.sum(axis=1), 1), np.nan)
    return means.reshape(counts[1], counts[0])


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
    counts = [len(axis.names) or CELLS for axis in pair.axes]
    return _value(x, column / counts[0]), _value(y, row / counts[1])
