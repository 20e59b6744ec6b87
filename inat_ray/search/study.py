"""Compares configurations over seeds: by the mean of their trials, and its error."""

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inat_ray.config.distributions import canonical
from inat_ray.config.space import SEED
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import JSON, Purpose


@dataclass(frozen=True)
class Configuration:
    """Trials that differ in their seed alone. Each has a result, and no two have the same seed."""

    parameters: dict[str, JSON]
    """Dotted name -> value, without the seed."""
    trials: list[TrialHistory]
    """In order of start."""
    scores: list[float]
    """Each trial's score: the metric over its best stretch of epochs."""

    @property
    def n(self) -> int:
        return len(self.trials)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.scores)

    @property
    def sd(self) -> float | None:
        """Sample standard deviation (n - 1 in the denominator); None for one trial."""
        return statistics.stdev(self.scores) if self.n > 1 else None

    @property
    def seconds_per_epoch(self) -> float:
        """The median of all epochs: a process's first epoch warms up."""
        return statistics.median(e.seconds for trial in self.trials for e in trial.epochs)


def seed_is_searched(history: History) -> bool:
    return history.started is not None and SEED in history.run.parameters


def configurations(history: History, *, purpose: Purpose = "search") -> list[Configuration]:
    """Returns the configurations of a search or its confirmation, best mean first.

    Only those with the most trials compete: of many configurations with a single trial each, the
    best one was lucky. The others follow, by mean too.
    """
    groups: defaultdict[str, dict[int, TrialHistory]] = defaultdict(dict)
    # A confirmation that has just begun would confirm nothing but its first epochs.
    confirming = (trial for trial in history.confirming if trial.is_over)
    for trial in confirming if purpose == "confirm" else history.searched:
        if history.score_value(trial) is not None:
            # Random search may draw a point twice; the same seed again is no new evidence.
            groups[canonical(_without_seed(trial.parameters))].setdefault(trial.seed, trial)
    found = [_configuration(history, list(trials.values())) for trials in groups.values()]
    most = max((c.n for c in found), default=0)
    return sorted(found, key=lambda c: (c.n == most, history.turned(c.mean)), reverse=True)


def unchanged(ranking: Sequence[Configuration], history: History) -> Configuration | None:
    """Returns the unchanged experiment, with which an ablation begins; None for other searches."""
    if history.started is None or history.run.method != "ablation" or not history.searched:
        return None
    first = _without_seed(history.searched[0].parameters)
    return next((c for c in ranking if c.parameters == first), None)


def changes(configuration: Configuration, base: Configuration | None) -> dict[str, JSON]:
    """Returns the parameters that differ from `base`; all of them if there is none."""
    known = {} if base is None else base.parameters
    return {
        name: value
        for name, value in configuration.parameters.items()
        if name not in known or canonical(value) != canonical(known[name])
    }


def distinct_configurations(history: History) -> list[TrialHistory]:
    """Returns the search's leaderboard, reduced to the best trial of each configuration."""
    best: dict[str, TrialHistory] = {}
    for trial in history.leaderboard():
        best.setdefault(canonical(_without_seed(trial.parameters)), trial)
    return list(best.values())


def standard_error(a: Configuration, b: Configuration) -> float | None:
    """Returns the standard error of the difference of two means: sqrt(sd²/n + sd²/n).

    It is None if one of them has a single trial. The deviations may differ (as in Welch's test).
    """
    if a.sd is None or b.sd is None:
        return None
    return math.hypot(a.sd / math.sqrt(a.n), b.sd / math.sqrt(b.n))


def paired_difference(a: Configuration, b: Configuration) -> tuple[float, float] | None:
    """Returns (mean of a - b over the seeds that both have, its standard error).

    The error is NaN with a single seed. Without a common seed, it returns None.
    """
    of_b = {trial.seed: score for trial, score in zip(b.trials, b.scores, strict=True)}
    pairs = zip(a.trials, a.scores, strict=True)
    gaps = [score - of_b[trial.seed] for trial, score in pairs if trial.seed in of_b]
    if not gaps:
        return None
    error = statistics.stdev(gaps) / math.sqrt(len(gaps)) if len(gaps) > 1 else math.nan
    return statistics.fmean(gaps), error


def told_apart(a: Configuration, b: Configuration) -> bool:
    """Returns whether the means differ by more than 2 standard errors of their difference."""
    error = standard_error(a, b)
    return error is not None and abs(a.mean - b.mean) > 2 * error


def _configuration(history: History, trials: list[TrialHistory]) -> Configuration:
    scores = [score for trial in trials if (score := history.score_value(trial)) is not None]
    return Configuration(_without_seed(trials[0].parameters), trials=trials, scores=scores)


def _without_seed(parameters: Mapping[str, JSON]) -> dict[str, JSON]:
    return {name: value for name, value in parameters.items() if name != SEED}
