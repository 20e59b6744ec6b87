"""HyperOpt's tree-structured Parzen estimator as a function (Bergstra et al., NeurIPS 2011).

The densities, their settings and the choice by parameter are HyperOpt's own. Its `suggest` is not
called: it builds a symbolic program for every suggestion (10 to 30 ms), and cannot be asked for the
best point that was not tried.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from hyperopt import tpe
from numpy.typing import NDArray

from inat_ray.config.space import Categorical, Parameter, SearchSpace
from inat_ray.tuning.records import JSON

Floats = NDArray[np.float64]

CANDIDATES: int = tpe._default_n_EI_candidates
PRIOR_WEIGHT: float = tpe._default_prior_weight
GAMMA: float = tpe._default_gamma
LINEAR_FORGETTING: int = tpe._default_linear_forgetting


@dataclass(frozen=True)
class Observation:
    """What a point of the space gave; lower is better."""

    parameters: Mapping[str, JSON]
    loss: float


class Density(Protocol):
    """Over codes: the index of a category, or the quantile of a number in [0, 1)."""

    def sample(self, rng: np.random.Generator, count: int) -> Floats: ...

    def log(self, codes: Floats) -> Floats: ...


@dataclass(frozen=True)
class CategoricalDensity:
    probabilities: Floats

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        return rng.choice(len(self.probabilities), size=count, p=self.probabilities).astype(float)

    def log(self, codes: Floats) -> Floats:
        return np.asarray(np.log(self.probabilities[codes.astype(int)]))


@dataclass(frozen=True)
class ParzenDensity:
    """A mixture of normal distributions, cut off at 0 and 1."""

    weights: Floats
    mus: Floats
    sigmas: Floats

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        mixture = (self.weights, self.mus, self.sigmas)
        return np.asarray(tpe.GMM1(*mixture, low=0.0, high=1.0, rng=rng, size=(count,)))

    def log(self, codes: Floats) -> Floats:
        mixture = (self.weights, self.mus, self.sigmas)
        return np.asarray(tpe.GMM1_lpdf(codes, *mixture, low=0.0, high=1.0))


@dataclass(frozen=True)
class Model:
    """Of each parameter the density of the good observations and of the others."""

    space: SearchSpace
    good: Mapping[str, Density]
    others: Mapping[str, Density]

    def propose(self, rng: np.random.Generator) -> dict[str, JSON]:
        """The best of a few draws from the good density, parameter by parameter."""
        point = {}
        for name, parameter in self.space.parameters.items():
            codes = self.good[name].sample(rng, CANDIDATES)
            point[name] = _decode(parameter, codes[np.argmax(self._score(name, codes))])
        return self.space.existing(point)

    def best_of(self, points: Sequence[Mapping[str, JSON]]) -> int:
        """The place of the point with the highest expected improvement; the first of equals."""
        scores = np.zeros(len(points))
        for name, parameter in self.space.parameters.items():
            having = [place for place, point in enumerate(points) if name in point]
            codes = np.array([_encode(parameter, points[place][name]) for place in having])
            scores[having] += self._score(name, codes)
        return int(np.argmax(scores))

    def _score(self, name: str, codes: Floats) -> Floats:
        return self.good[name].log(codes) - self.others[name].log(codes)


def fitted(space: SearchSpace, told: Sequence[Observation]) -> Model:
    """The model of these observations, which need not have every parameter.

    The best ceil(sqrt(n) / 4) of n observations are the good ones, 25 at most.
    """
    order = np.argsort([o.loss for o in told], kind="stable")
    most = min(int(np.ceil(GAMMA * np.sqrt(len(told)))), LINEAR_FORGETTING)
    # In order of observation again: the oldest weigh least.
    good = [told[place].parameters for place in sorted(order[:most])]
    others = [told[place].parameters for place in sorted(order[most:])]
    return Model(
        space,
        good={name: _density(p, name, good) for name, p in space.parameters.items()},
        others={name: _density(p, name, others) for name, p in space.parameters.items()},
    )


def _density(parameter: Parameter, name: str, points: Sequence[Mapping[str, JSON]]) -> Density:
    codes = np.array([_encode(parameter, point[name]) for point in points if name in point])
    if isinstance(parameter, Categorical):
        return _categorical(parameter, codes)
    return ParzenDensity(*tpe.adaptive_parzen_normal(codes, PRIOR_WEIGHT, 0.5, 1.0))


def _categorical(parameter: Categorical, codes: Floats) -> CategoricalDensity:
    weights = tpe.linear_forgetting_weights(len(codes), LINEAR_FORGETTING)
    prior = np.array(parameter.probabilities)
    counts = np.bincount(codes.astype(int), weights=weights, minlength=len(prior))
    # A category that never occurs must not get a logarithm of zero.
    pseudocounts: Any = tpe.tpe_cat_pseudocounts(counts, PRIOR_WEIGHT, prior, ())
    return CategoricalDensity(np.asarray(pseudocounts))


def _encode(parameter: Parameter, value: JSON) -> float:
    if isinstance(parameter, Categorical):
        return parameter.index(value)
    return parameter.to_unit(value)


def _decode(parameter: Parameter, code: float) -> JSON:
    if isinstance(parameter, Categorical):
        return parameter.values[int(code)]
    return parameter.from_unit(min(max(float(code), 0.0), np.nextafter(1.0, 0.0)))
