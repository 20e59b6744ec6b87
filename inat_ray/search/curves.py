"""Learning curves that were recorded: what a simulated training gives, epoch by epoch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from inat_ray.config.distributions import Categorical, Parameter, canonical
from inat_ray.config.experiment import Experiment
from inat_ray.config.metrics import METRICS
from inat_ray.config.space import SearchSpace
from inat_ray.log.history import TrialHistory
from inat_ray.log.records import JSON

CURVE_METRICS = ("train_loss", "train_accuracy", *METRICS)
"""The numbers of an epoch that a curve holds."""


@dataclass(frozen=True)
class Curve:
    """A training as it was recorded."""

    parameters: Mapping[str, JSON]
    seed: int
    metrics: Mapping[str, list[float]]
    """Name of a metric -> its value after each epoch."""
    seconds: list[float]
    """Of each epoch."""

    @property
    def epochs(self) -> int:
        return len(self.seconds)


class Curves(Protocol):
    """Where a simulation looks up what a training gives."""

    def curve(self, parameters: Mapping[str, JSON]) -> Curve: ...


@dataclass(frozen=True)
class CurveTable:
    """The curves of a sweep, by configuration, and the sweep's experiment."""

    experiment: Experiment
    space: SearchSpace
    curves: list[Curve]

    @property
    def configurations(self) -> list[Curve]:
        """A curve a configuration: of several seeds the one that was recorded first."""
        return list(self._by_point.values())

    @cached_property
    def _by_point(self) -> dict[str, Curve]:
        found: dict[str, Curve] = {}
        for curve in self.curves:
            found.setdefault(canonical(dict(curve.parameters)), curve)
        return found

    @property
    def is_complete(self) -> bool:
        """Whether there is a curve for every point of the space."""
        grid = self.space.grid
        return grid is not None and all(canonical(p) in self._by_point for p in grid)

    def curve(self, parameters: Mapping[str, JSON]) -> Curve:
        """The curve of this configuration, or of the recorded one that is nearest to it."""
        exact = self._by_point.get(canonical(dict(parameters)))
        return exact or min(self.curves, key=lambda c: self._distance(c.parameters, parameters))

    def _distance(self, a: Mapping[str, JSON], b: Mapping[str, JSON]) -> float:
        return sum(_distance(p, a.get(n), b.get(n)) for n, p in self.space.parameters.items())


def _distance(parameter: Parameter, a: JSON, b: JSON) -> float:
    """0 to 1: of numbers by their quantiles, of categories whether they differ."""
    if a is None or b is None or isinstance(parameter, Categorical):
        return float(a != b)
    return abs(parameter.code(a) - parameter.code(b))


def curves_of(trials: Iterable[TrialHistory]) -> Iterable[Curve]:
    """The curves of the trials that have any."""
    for trial in trials:
        if trial.epochs:
            yield Curve(
                parameters=trial.parameters,
                seed=trial.seed,
                metrics={name: trial.values(name) for name in CURVE_METRICS},
                seconds=[epoch.seconds for epoch in trial.epochs],
            )
