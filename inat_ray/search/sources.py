"""Other runs as sources: what they know of a space, as far as a search's own trials bear it out."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from inat_ray.config.distributions import Categorical, Codes
from inat_ray.config.search import EarlyStopping
from inat_ray.config.space import SearchSpace
from inat_ray.log.history import BAD, History
from inat_ray.log.records import TrialKnown
from inat_ray.search.observations import MAX_OBSERVATIONS, last_level, places, rank, ranked
from inat_ray.search.tpe import Observation, good_ones

FEW = 8
"""The number of own results with which a source is judged; before that it is believed."""

LEAST_AGREEMENT = 0.1
"""Below it, a source is not believed. Above it, it is as long as the search's own results do not
say more of each other: a misleading source agrees by chance where a space has few parameters."""

WIDTH, NOISE = 0.25, 0.3
"""What a source's trials say of others: how far it reaches, in quantiles of a number, and the
variance of a trial's place beside that which the parameters make."""

MOST_COMPARED = 200
"""The most trials of a source, or of the search, compared: the cost grows with the cube."""


@dataclass(frozen=True)
class Source:
    """Another run."""

    name: str
    trials: list[Observation]
    """With their places in the ranking of that run as losses."""
    agreement: float | None = None
    """Spearman's rank correlation between the results of the search so far and what the source has
    one expect of them; None while there are few."""
    own: float = 0.0
    """The same of what the results have one expect of each other."""

    @property
    def is_believed(self) -> bool:
        return self.agreement is None or self.agreement >= max(LEAST_AGREEMENT, self.own)


def told_by_sources(
    space: SearchSpace, history: History, stopping: EarlyStopping
) -> list[Observation]:
    """Returns what TPE is told of other runs: the trials of those that are believed."""
    found = sources(space, history, stopping)
    most = MAX_OBSERVATIONS // max(1, len(found))
    return [each for s in found if s.is_believed for each in thinned(s.trials, most=most)]


def sources(space: SearchSpace, history: History, stopping: EarlyStopping) -> list[Source]:
    """Returns the other runs that a search was told of, in the order of its log."""
    if not history.known:
        return []
    groups: defaultdict[str, list[TrialKnown]] = defaultdict(list)
    for trial in history.known:
        groups[trial.source.rpartition(" ")[0]].append(trial)
    results = [
        Observation(trial.parameters, place)
        for trial, place in ranked(history, stopping)
        if trial.epochs or trial.state in BAD
    ]
    own = thinned(results, most=MOST_COMPARED)
    found = [Source(name, _ranked_known(history, known)) for name, known in groups.items()]
    if len(own) < FEW:
        return found
    of_own = agreement(own, expected_of_each_other(space, own))
    return [
        replace(s, agreement=agreement(own, expected(space, s.trials, own)), own=of_own)
        for s in found
    ]


def _ranked_known(history: History, known: Sequence[TrialKnown]) -> list[Observation]:
    """Ranks a source's trials as `ranked` does a search's own, whatever stopped them early."""
    counts = Counter(epoch for trial in known for epoch in range(1, len(trial.values) + 1))
    level = last_level(counts, enough=good_ones(len(known)))
    epochs = range(level, 0, -1)
    ranks = [rank(t.state, epochs, score=partial(_score, history, t)) for t in known]
    return [Observation(t.parameters, p) for t, p in zip(known, places(ranks), strict=True)]


def _score(history: History, trial: TrialKnown, epoch: int) -> float | None:
    value = trial.values[epoch - 1] if epoch <= len(trial.values) else math.nan
    return history.turned(value) if math.isfinite(value) else None


def thinned(trials: Sequence[Observation], *, most: int) -> list[Observation]:
    """Returns no more than `most` trials: the best one, and every n-th behind it."""
    step = max(1, math.ceil(len(trials) / max(1, most)))
    return sorted(trials, key=lambda each: each.loss)[::step]


def agreement(own: Sequence[Observation], losses: Codes) -> float:
    """Returns Spearman's rank correlation of own losses with those that were expected."""
    found = np.array([losses, [each.loss for each in own]])
    orders = found.argsort(axis=1, kind="stable").argsort(axis=1)
    return float(np.asarray(np.corrcoef(orders))[0, 1])


def expected(
    space: SearchSpace, source: Sequence[Observation], points: Sequence[Observation]
) -> Codes:
    """Returns the losses, less their mean, that a source has one expect of points.

    They are the mean of a Gaussian process whose covariance is a sum over the parameters (Duvenaud
    et al., NeurIPS 2011): sixty trials then say something of a space of eight. Of 1,000 points of
    a relative on TaskSet's tables it foretells the order with a rank correlation of 0.48 (mean of
    30 pairs of tables; the ratio of TPE's densities 0.26, 100 extremely randomized trees 0.53).
    """
    shown = thinned(source, most=MOST_COMPARED)
    known, asked = (np.array([space.codes(o.parameters) for o in each]) for each in (shown, points))
    losses = np.array([o.loss for o in shown])
    covariance = _covariance(space, known, known) + NOISE * np.eye(len(known))
    found: Codes = _covariance(space, asked, known) @ np.linalg.solve(
        covariance, losses - losses.mean()
    )
    return found


def expected_of_each_other(space: SearchSpace, own: Sequence[Observation]) -> Codes:
    """Returns the loss that all trials but one have one expect of that one, for each."""
    codes, losses = (
        np.array([space.codes(o.parameters) for o in own]),
        np.array([o.loss for o in own]),
    )
    losses -= losses.mean()
    inverse = np.linalg.inv(_covariance(space, codes, codes) + NOISE * np.eye(len(own)))
    # Rasmussen & Williams, Gaussian Processes for Machine Learning, equation 5.12.
    left_out: Codes = losses - inverse @ losses / np.diag(inverse)
    return left_out


def _covariance(space: SearchSpace, a: Codes, b: Codes) -> Codes:
    """Shape (points of `a`, points of `b`). To lack a parameter is a value of its own."""
    total: Codes = np.zeros((len(a), len(b)))
    for place, parameter in enumerate(space.parameters.values()):
        x, y = a[:, None, place], b[None, :, place]
        lacks = np.isnan(x) | np.isnan(y)
        near = (
            x == y if isinstance(parameter, Categorical) else np.exp(-(((x - y) / WIDTH) ** 2) / 2)
        )
        total += np.where(lacks, np.isnan(x) & np.isnan(y), near)
    return total / len(space.parameters)
