"""What searchers are compared on: tables of learning curves whose truth is known.

The truth of a configuration is the accuracy that its training reaches on average over seeds. A
search sees single trainings of it, drawn anew for every seed of the benchmark.
"""

import math
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from inat_ray.config.distributions import Categorical, Numeric, Parameter, canonical
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.config.space import SEED, SearchSpace, search_space
from inat_ray.run.curve_files import read_curves
from inat_ray.search.curves import CURVE_METRICS, Curve, CurveTable

METRIC = "val_accuracy"
DRAWS = 4_096
"""Points at random, for the median of a space that has no end of them, and to find its best."""

LAST = 5
"""The epochs at the end of a training that tell its level."""

Array = NDArray[np.float64]
Point = Mapping[str, Any]


@dataclass
class World:
    """One table as one search meets it. Its state: the trainings that the search has seen."""

    experiment: Experiment
    space: SearchSpace
    truth: Callable[[Point], float]
    best: float
    """The truth of the best configuration."""
    median: float
    drawn: Callable[[Point, int], tuple[Array, Sequence[float]]]
    """(point, which training of it) -> the metric after each epoch, and the epochs' seconds."""
    seconds: float | None = None
    """What an epoch of a median configuration takes; None where that was not recorded."""
    trains_again: bool = True
    """Whether a configuration that is trained again gets another curve."""
    _seen: dict[tuple[str, int], Curve] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        return self.experiment.recipe.epochs

    def curve(self, point: Point, take: int = 0) -> Curve:
        key = canonical(dict(point)), take
        if key not in self._seen:
            self._seen[key] = self.trained(point, take)
        return self._seen[key]

    def trained(self, point: Point, take: int = 0) -> Curve:
        values, seconds = self.drawn(point, take)
        metrics = dict.fromkeys(CURVE_METRICS, values.tolist())
        return Curve(point, seed=take, metrics=metrics, seconds=list(seconds))

    def regret(self, point: Point | None) -> float:
        """How far a configuration is from the best, as a share of the way from median to best."""
        truth = self.median if point is None else self.truth(point)
        return (self.best - truth) / (self.best - self.median)


def rng_of(point: Point, *key: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(canonical(dict(point)).encode()), *key])


# Recorded by this system


@dataclass(frozen=True)
class Recorded:
    """A record of `sweep`, to be recorded again: mean curves, and what seeds make of them.

    The mean of a configuration of a grid is a Gaussian process over its points, fitted to all
    curves: one for each of their first principal components, on the scale of log-odds. In a space
    without end that goes on beyond what was recorded, to peaks that no training has: there a
    configuration has the mean of the nearest one that was recorded, by the scales of a process for
    the level at the end. The rest of a training is that of a real one, of a configuration with a
    curve like it: what a seed's curve differs by from the mean of the seeds, times sqrt(n / (n -
    1)), as log-odds.
    """

    table: CurveTable
    components: int = 5

    @cached_property
    def _points(self) -> dict[str, list[Curve]]:
        """The longest curves by configuration: a trial that was stopped early tells no mean."""
        found: dict[str, list[Curve]] = {}
        longest = max(curve.epochs for curve in self.table.curves)
        for curve in self.table.curves:
            if curve.epochs == longest:
                found.setdefault(canonical(without_seed(curve.parameters)), []).append(curve)
        return found

    @cached_property
    def space(self) -> SearchSpace:
        given = self.table.space
        return replace(given, parameters=without_seed(given.parameters), first=())

    @cached_property
    def residuals(self) -> tuple[Array, Array]:
        """(a configuration's mean curve, what a seed's differs by), as log-odds.

        Shapes (trainings, epochs). They depend on each other: poor configurations differ more from
        seed to seed, and slow ones early.
        """
        found = []
        for curves in self._points.values():
            odds = log_odds(np.array([curve.metrics[METRIC] for curve in curves]))
            mean, n = odds.mean(axis=0), len(curves)
            if n > 1:
                found += [(mean, rest) for rest in (odds - mean) * math.sqrt(n / (n - 1))]
        if not found:
            raise ValueError("no configuration was trained with two seeds")
        return np.array([each[0] for each in found]), np.array([each[1] for each in found])

    def seen(self, mean: Array, rng: np.random.Generator) -> Array:
        """A training: with the rest of one of the fourth whose mean curves are the nearest."""
        means, rests = self.residuals
        odds = log_odds(mean)
        near = np.argsort(((means - odds) ** 2).sum(axis=1))[: max(1, len(means) // 4)]
        rest = rests[rng.choice(near)] * rng.choice([-1, 1])
        found: Array = 1 / (1 + np.exp(-(odds + rest)))
        return found

    @cached_property
    def _process(self) -> tuple[Array, Array, list[Any]]:
        """(mean curve, components, a Gaussian process for each)."""
        curves = [curve for curves in self._points.values() for curve in curves]
        odds = log_odds(np.array([curve.metrics[METRIC] for curve in curves]))
        places = np.array([self._place(curve.parameters) for curve in curves])
        middle = odds.mean(0)
        axes = np.linalg.svd(odds - middle, full_matrices=False)[2][: self.components]
        scores = (odds - middle) @ axes.T
        return middle, axes, [fitted_process(places, each) for each in scores.T]

    def _place(self, point: Point) -> list[float]:
        """A number for each parameter, for each category, and for what may be absent."""
        return [
            value
            for name, parameter in self.space.parameters.items()
            for value in coordinates(parameter, point.get(name))
        ]

    @cached_property
    def _recorded(self) -> tuple[Array, Array, Array]:
        """(places, mean curves, how far it is in each coordinate to another level at the end)."""
        places = np.array([self._place(curves[0].parameters) for curves in self._points.values()])
        means = [
            np.mean([curve.metrics[METRIC] for curve in curves], axis=0)
            for curves in self._points.values()
        ]
        levels = log_odds(np.array(means))[:, -LAST:].mean(axis=1)
        process = fitted_process(places, levels, scales=(0.3, 5))
        return places, np.array(means), process.kernel_.k1.k2.length_scale

    def means(self, points: Sequence[Point]) -> Array:
        """Mean curves, shape (points, epochs)."""
        places = np.array([self._place(point) for point in points])
        if self.space.grid is None:
            known, means, scales = self._recorded
            near: Array = means[cdist(places / scales, known / scales).argmin(axis=1)]
            return near
        middle, axes, processes = self._process
        scores = np.array([process.predict(places) for process in processes]).T
        found: Array = 1 / (1 + np.exp(-(middle + scores @ axes)))
        return found

    def truths(self, points: Sequence[Point]) -> Array:
        """The most that the mean curves reach: the best epoch's checkpoint is kept."""
        best: Array = self.means(points).max(axis=1)
        return best

    @cached_property
    def best_and_median(self) -> tuple[float, float]:
        rng = np.random.default_rng(0)
        points = self.space.grid or [random_point(self.space, rng) for _ in range(DRAWS)]
        truths = self.truths(points)
        median, top = float(np.median(truths)), points[int(truths.argmax())]
        for width in np.geomspace(0.2, 0.01, 0 if self.space.grid else 20):
            near = [top, *(nudged(self.space, top, rng, width) for _ in range(DRAWS // 16))]
            top = near[int(self.truths(near).argmax())]
        return float(self.truths([top])[0]), median

    def world(self, seed: int) -> World:
        known: dict[str, Array] = {}

        def mean(point: Point) -> Array:
            key = canonical(dict(point))
            if key not in known:
                known[key] = self.means([point])[0]
            return known[key]

        def drawn(point: Point, take: int) -> tuple[Array, Sequence[float]]:
            rng = rng_of(point, seed, take)
            values = self.seen(mean(point), rng)
            seconds = np.median(self.table.curve(point).seconds)
            return values, [float(seconds)] * len(values)

        best, median = self.best_and_median
        return World(
            self.table.experiment,
            self.space,
            truth=lambda point: float(mean(point).max()),
            best=best,
            median=median,
            drawn=drawn,
            seconds=float(np.median([s for curve in self.table.curves for s in curve.seconds])),
        )


def without_seed(point: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in point.items() if name != SEED}


def log_odds(share: Array) -> Array:
    within = np.clip(share, 1e-3, 1 - 1e-3)
    found: Array = np.log(within / (1 - within))
    return found


def coordinates(parameter: Parameter, value: Any) -> list[float]:
    """Two categories are one number, more are one each; a value that is absent lies between."""
    if not isinstance(parameter, Categorical):
        return [float(value is None), 0.5 if value is None else parameter.code(value)]
    if parameter.size <= 2:
        return [0.5 if value is None else parameter.code(value)]
    return [float(value is not None and parameter.code(value) == k) for k in range(parameter.size)]


def fitted_process(places: Array, values: Array, *, scales: tuple[float, float] = (0.2, 50)) -> Any:
    """A Gaussian process whose scales, one for each coordinate, are the most likely ones."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    smooth = Matern(np.ones(places.shape[1]), scales, nu=2.5)
    kernel = ConstantKernel(1.0) * smooth + WhiteKernel(0.3, (1e-3, 10))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a coordinate that does not matter has no end of a scale
        return GaussianProcessRegressor(kernel, normalize_y=True).fit(places, values)


def random_point(space: SearchSpace, rng: np.random.Generator) -> dict[str, Any]:
    return space.from_units({name: float(rng.random()) for name in space.parameters})


def nudged(
    space: SearchSpace, point: Point, rng: np.random.Generator, width: float
) -> dict[str, Any]:
    """A point nearby: numbers moved by about `width`, a category now and then another."""
    other = random_point(space, rng)
    for name, parameter in space.parameters.items():
        if name not in point:
            continue
        if isinstance(parameter, Numeric):
            other[name] = parameter.from_code(parameter.code(point[name]) + rng.normal(0, width))
        elif rng.random() > width:
            other[name] = point[name]
    return space.existing(other)


# Made up


EPOCHS = 27


def wide_space(epochs: int) -> Experiment:
    """An experiment with 13 parameters."""
    path = Path("experiments/cnn_bayes.yaml")
    return load_experiment(path, settings=[f"recipe.epochs={epochs}"], options={})


@dataclass(frozen=True)
class Formula:
    """Curves of a made-up training: a bowl around a point drawn by seed, noise of 0.005."""

    space: SearchSpace
    seed: int

    @cached_property
    def bowl(self) -> list[tuple[float, float]]:
        """(best place, weight) of each parameter, on a scale from 0 to 1."""
        rng = np.random.default_rng([self.seed, 7])
        return [(rng.random(), rng.uniform(0.02, 0.25)) for _ in self.space.parameters]

    @property
    def best(self) -> float:
        """0.8 less what no category can avoid."""
        loss = 0.0
        for parameter, (best, weight) in zip(
            self.space.parameters.values(), self.bowl, strict=True
        ):
            places = [(place + 0.5) / (parameter.size or 1) for place in range(parameter.size or 0)]
            loss += weight * min(((place - best) ** 2 for place in places), default=0.0)
        return 0.8 - loss

    def final(self, parameters: Point) -> float:
        """Accuracy after endless training."""
        loss = 0.0
        for (name, parameter), (best, weight) in zip(
            self.space.parameters.items(), self.bowl, strict=True
        ):
            code, size = parameter.code(parameters[name]), parameter.size
            loss += weight * (((code + 0.5) / size if size else code) - best) ** 2
        return 0.8 - loss

    def drawn(self, parameters: Point, take: int = 0) -> tuple[Array, Sequence[float]]:
        rng = rng_of(parameters, self.seed, take)
        epochs = np.arange(1, EPOCHS + 1)
        final, pace = self.final(parameters), rng.uniform(3, 6)
        values = 0.1 + (final - 0.1) * (1 - np.exp(-epochs / pace)) + rng.normal(0, 0.005, EPOCHS)
        return values, [rng.uniform(20, 60)] * EPOCHS

    @classmethod
    def world(cls, seed: int) -> World:
        experiment = wide_space(EPOCHS)
        formula, rng = cls(search_space(experiment), seed), np.random.default_rng([seed, 8])
        truths = [formula.final(random_point(formula.space, rng)) for _ in range(DRAWS // 4)]
        return World(
            experiment,
            formula.space,
            truth=formula.final,
            best=formula.best,
            median=float(np.median(truths)),
            drawn=formula.drawn,
        )


# TaskSet's


@dataclass(frozen=True)
class TaskSet:
    """A table of TaskSet (Metz et al., 2020, arXiv 2002.11887): 1,000 points, one run each.

    The code of a number is its rank among those that were drawn, and a point takes the nearest row
    that no other has taken. The score is exp(-loss). What the search is told is that of the
    validation images; the truth is that of the test images, best over the means of five epochs.
    """

    path: Path

    @cached_property
    def _columns(self) -> dict[str, Array]:
        return {
            name: np.array(column) for name, column in pq.read_table(self.path).to_pydict().items()
        }

    @cached_property
    def space(self) -> SearchSpace:
        names = [name for name, column in self._columns.items() if column.ndim == 1]
        return SearchSpace({name: Numeric("linear", low=0.0, high=1.0) for name in names})

    @cached_property
    def _codes(self) -> Array:
        """Shape (rows, parameters)."""
        ranks = [rankdata(self._columns[name]) for name in self.space.parameters]
        return (np.array(ranks).T - 0.5) / len(ranks[0])

    def _scores(self, column: str) -> Array:
        """Shape (rows, epochs): without the value before any training. What diverged has 0."""
        return np.exp(-np.nan_to_num(self._columns[column][:, 1:], nan=np.inf))

    @cached_property
    def _truths(self) -> Array:
        five = np.lib.stride_tricks.sliding_window_view(self._scores("test_loss"), 5, axis=1)
        best: Array = five.mean(axis=2).max(axis=1)
        return best

    @cached_property
    def _told(self) -> Array:
        return self._scores("valid_loss")

    def world(self) -> World:
        rows: dict[str, int] = {}
        left = np.ones(len(self._codes), dtype=bool)

        def row(point: Point) -> int:
            key = canonical(dict(point))
            if key not in rows:
                place = np.array([point[name] for name in self.space.parameters])
                distances = np.where(left, ((self._codes - place) ** 2).sum(axis=1), np.inf)
                rows[key] = int(distances.argmin())
                left[rows[key]] = False
            return rows[key]

        def drawn(point: Point, _take: int) -> tuple[Array, Sequence[float]]:
            values = self._told[row(point)]
            return values, [1.0] * len(values)

        return World(
            wide_space(self._told.shape[1]),
            self.space,
            truth=lambda point: float(self._truths[row(point)]),
            best=float(self._truths.max()),
            median=float(np.median(self._truths)),
            drawn=drawn,
            trains_again=False,
        )


FORMULA = "formula"


@cache
def table_at(path: str, *, short: bool) -> Recorded | TaskSet:
    """The table in a file or in a run folder; `short`: roughly, from an eighth of its curves."""
    if Path(path).name.startswith("taskset_"):
        return TaskSet(Path(path))
    table = read_curves(Path(path))
    if not short:
        return Recorded(table)
    return Recorded(replace(table, curves=table.curves[::8]), components=1)


def world_of(table: str, seed: int, *, short: bool = False) -> World:
    """The table of this path, or made up, as the search with this seed meets it."""
    if table == FORMULA:
        return Formula.world(seed)
    found = table_at(table, short=short)
    return found.world(seed) if isinstance(found, Recorded) else found.world()
