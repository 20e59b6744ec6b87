"""HyperOpt's tree-structured Parzen estimator as a function (Bergstra et al., NeurIPS 2011).

The densities, their settings but for GAMMA, and the choice by parameter are HyperOpt's own. Its
`suggest` is not called: it builds a symbolic program for every suggestion (10 to 30 ms), and
cannot be asked for the best point that was not tried.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from hyperopt import tpe

from inat_ray.config.distributions import Categorical, Codes, Parameter
from inat_ray.config.space import SearchSpace
from inat_ray.log.records import JSON

CANDIDATES: int = tpe._default_n_EI_candidates
PRIOR_WEIGHT: float = tpe._default_prior_weight
GAMMA = 1.0
"""The best GAMMA * sqrt(n) of n observations are the good ones, LINEAR_FORGETTING at most.

HyperOpt's 0.25 leaves three of a hundred, too few to tell a region by. After 150 trials in a space
of 13 parameters, on the formula of tests/benchmarks/scale.py, its best was 2.5 points from the
optimum, and 4.4 with ASHA; with 1.0 it is 1.2 and 2.7 (means of 16 seeds).
"""

LINEAR_FORGETTING: int = tpe._default_linear_forgetting


@dataclass(frozen=True)
class Observation:
    """A point of the space and its loss: lower is better, and only the order counts.

    An infinite loss is that of a point which is never good, however few others there are.
    """

    parameters: Mapping[str, JSON]
    loss: float


class Density(Protocol):
    """A density of codes: indices of categories, or quantiles of numbers in [0, 1)."""

    def sample(self, rng: np.random.Generator, count: int) -> Codes: ...

    def log(self, codes: Codes) -> Codes: ...


@dataclass(frozen=True)
class CategoricalDensity:
    probabilities: Codes

    def sample(self, rng: np.random.Generator, count: int) -> Codes:
        return rng.choice(len(self.probabilities), size=count, p=self.probabilities).astype(float)

    def log(self, codes: Codes) -> Codes:
        chances = self.probabilities[codes.astype(int)]
        logs: Codes = np.full_like(chances, -np.inf)
        np.log(chances, out=logs, where=chances > 0)
        return logs


@dataclass(frozen=True)
class ParzenDensity:
    """A mixture of normal distributions, cut off at 0 and 1."""

    weights: Codes
    mus: Codes
    sigmas: Codes

    def sample(self, rng: np.random.Generator, count: int) -> Codes:
        mixture = (self.weights, self.mus, self.sigmas)
        return np.asarray(tpe.GMM1(*mixture, low=0.0, high=1.0, rng=rng, size=(count,)))

    def log(self, codes: Codes) -> Codes:
        mixture = (self.weights, self.mus, self.sigmas)
        return np.asarray(tpe.GMM1_lpdf(codes, *mixture, low=0.0, high=1.0))


@dataclass(frozen=True)
class Model:
    """For each parameter, the density of the good observations and that of the others."""

    space: SearchSpace
    good: Sequence[Density]
    others: Sequence[Density]

    def propose(self, rng: np.random.Generator) -> dict[str, JSON]:
        """Returns the best of a few draws from the good density, parameter by parameter."""
        point = {}
        for place, (name, parameter) in enumerate(self.space.parameters.items()):
            codes = self.good[place].sample(rng, CANDIDATES)
            point[name] = parameter.from_code(codes[np.argmax(self._score(place, codes))])
        return self.space.existing(point)

    def best_of(self, codes: Codes) -> int:
        """Returns the index of the row (a point) with the highest expected improvement."""
        scores = np.zeros(len(codes))
        for place in range(codes.shape[1]):
            has = ~np.isnan(codes[:, place])
            scores[has] += self._score(place, codes[has, place])
        return int(np.argmax(scores))

    def _score(self, place: int, codes: Codes) -> Codes:
        good = self.good[place].log(codes)
        # What is never drawn keeps the lowest score, not the NaN of a difference of infinities.
        np.subtract(good, self.others[place].log(codes), out=good, where=np.isfinite(good))
        return good


def good_ones(observations: int) -> int:
    """Returns how many of so many observations count as good."""
    return min(int(np.ceil(GAMMA * np.sqrt(observations))), LINEAR_FORGETTING)


def fitted(space: SearchSpace, told: Sequence[Observation]) -> Model:
    """Returns the model of these observations, which need not have every parameter.

    The best `good_ones(n)` of n observations with a finite loss make the good density.
    """
    codes = np.array([space.codes(o.parameters) for o in told]).reshape(-1, len(space.parameters))
    order = np.argsort([o.loss for o in told], kind="stable")
    most = good_ones(sum(math.isfinite(o.loss) for o in told))
    # In order of observation again: the oldest weigh least.
    good, others = codes[np.sort(order[:most])], codes[np.sort(order[most:])]
    return Model(space, good=_densities(space, good), others=_densities(space, others))


def _densities(space: SearchSpace, codes: Codes) -> list[Density]:
    return [
        _density(parameter, column[~np.isnan(column)])
        for parameter, column in zip(space.parameters.values(), codes.T, strict=True)
    ]


def _density(parameter: Parameter, codes: Codes) -> Density:
    if isinstance(parameter, Categorical):
        return _categorical(parameter, codes)
    return ParzenDensity(*tpe.adaptive_parzen_normal(codes, PRIOR_WEIGHT, 0.5, 1.0))


def _categorical(parameter: Categorical, codes: Codes) -> CategoricalDensity:
    weights = tpe.linear_forgetting_weights(len(codes), LINEAR_FORGETTING)
    prior = np.array(parameter.probabilities)
    counts = np.bincount(codes.astype(int), weights=weights, minlength=len(prior))
    # A category that may be drawn must not get a logarithm of zero. One that may not can have been
    # observed all the same, as a first point or in another run.
    counts = np.where(prior > 0, counts, 0.0)
    pseudocounts: Any = tpe.tpe_cat_pseudocounts(counts, PRIOR_WEIGHT, prior, ())
    return CategoricalDensity(np.asarray(pseudocounts))
