"""Recorded learning curves, from which a simulated training takes its epochs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from inat_ray.config.distributions import Categorical, Parameter, canonical
from inat_ray.config.experiment import Experiment
from inat_ray.config.metrics import METRICS
from inat_ray.config.space import SearchSpace
from inat_ray.log.history import TrialHistory
from inat_ray.log.records import JSON
from inat_ray.search.limits import Beyond, decides_size

CURVE_METRICS = ("train_loss", "train_accuracy", *METRICS)
"""The numbers of an epoch that a curve holds."""


@dataclass(frozen=True)
class Curve:
    """One recorded training."""

    parameters: Mapping[str, JSON]
    seed: int
    metrics: Mapping[str, list[float]]
    """Name of a metric -> its value after each epoch."""
    seconds: list[float]
    """How long each epoch took."""
    size: tuple[int, int] | None = None
    """Parameters and multiply-accumulates of the network; None in records of earlier versions."""

    @property
    def epochs(self) -> int:
        return len(self.seconds)


CurveOf = Callable[[Mapping[str, JSON]], Curve]
"""Returns the curve of a configuration: what a simulation learns of a training."""


@dataclass(frozen=True)
class CurveTable:
    """The curves of a sweep, by configuration, and the sweep's experiment."""

    experiment: Experiment
    space: SearchSpace
    curves: list[Curve]
    beyond: list[Beyond] = field(default_factory=list)
    """Points that the sweep did not train, since they were beyond its limits."""

    @property
    def configurations(self) -> list[Curve]:
        """One curve for each configuration: of several seeds, the one recorded first."""
        return list(self._by_point.values())

    @cached_property
    def _by_point(self) -> dict[str, Curve]:
        found: dict[str, Curve] = {}
        for curve in self.curves:
            found.setdefault(canonical(dict(curve.parameters)), curve)
        return found

    @property
    def is_complete(self) -> bool:
        """Whether every point of the space has a curve."""
        grid = self.space.grid
        return grid is not None and all(canonical(p) in self._by_point for p in grid)

    def curve(self, parameters: Mapping[str, JSON]) -> Curve:
        """Returns the curve of this configuration, or of the nearest one that was recorded."""
        exact = self._by_point.get(canonical(dict(parameters)))
        return exact or min(self.curves, key=lambda c: self._distance(c.parameters, parameters))

    def size(self, parameters: Mapping[str, JSON]) -> tuple[int, int] | None:
        """Returns that of this configuration's network, or of the nearest one that was recorded.

        None if the record tells no sizes.
        """
        asked = self._of_size(parameters)
        if (exact := self._sizes.get(canonical(asked))) is not None:
            return exact[1]
        near = min(self._sizes.values(), key=lambda s: self._distance(s[0], asked), default=None)
        return near and near[1]

    @cached_property
    def _sizes(self) -> dict[str, tuple[dict[str, JSON], tuple[int, int]]]:
        told = [(c.parameters, c.size) for c in self.curves if c.size is not None]
        told += [(b.parameters, (b.model_parameters, b.macs)) for b in self.beyond]
        networks = ((self._of_size(parameters), size) for parameters, size in told)
        return {canonical(network): (network, size) for network, size in networks}

    def _of_size(self, parameters: Mapping[str, JSON]) -> dict[str, JSON]:
        """The parameters on which a network's size depends."""
        return {name: value for name, value in parameters.items() if decides_size(name)}

    def _distance(self, a: Mapping[str, JSON], b: Mapping[str, JSON]) -> float:
        return sum(_distance(p, a.get(n), b.get(n)) for n, p in self.space.parameters.items())


def _distance(parameter: Parameter, a: JSON, b: JSON) -> float:
    """Returns 0 to 1: the distance of two numbers' quantiles, or whether two categories differ."""
    if a is None or b is None or isinstance(parameter, Categorical):
        return float(a != b)
    return abs(parameter.code(a) - parameter.code(b))


def curves_of(trials: Iterable[TrialHistory]) -> Iterable[Curve]:
    """Yields the curves of the trials that have any."""
    for trial in trials:
        if trial.epochs:
            newest = trial.epochs[-1]
            size = newest.model_parameters, newest.macs
            yield Curve(
                parameters=trial.parameters,
                seed=trial.seed,
                metrics={name: trial.values(name) for name in CURVE_METRICS},
                seconds=[epoch.seconds for epoch in trial.epochs],
                size=None if size[0] is None or size[1] is None else (size[0], size[1]),
            )
