"""The trials of a search that have a result, as points of its space, and the axes of that space."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from inat_ray.config.distributions import Numeric
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.space import SEED, search_space
from inat_ray.log.history import History
from inat_ray.log.records import JSON
from inat_ray.page.axes import Axis, categories, linear, logarithmic
from inat_ray.page.colors import SCALE, STATES
from inat_ray.page.importance import Importances, importances
from inat_ray.page.metrics import results, score_title
from inat_ray.page.smooth import stretch
from inat_ray.search.telling import ordered, share_explained
from inat_ray.search.winner import searched_winner
from inat_ray.terminal.words import short_names, value_text

FEW_VALUES = 6
"""Up to this many different numbers, each of them at least twice in the mean, are categories."""

GOLDEN = 0.618034
"""Multiples of it, modulo 1, are spread evenly however many they are: a jitter without chance."""


@dataclass(frozen=True)
class Scored:
    """The trials that have a result, with the values that the search varied."""

    names: dict[str, str]
    """Dotted name -> short name, in the order of the experiment."""
    points: list[Mapping[str, JSON]]
    scores: list[float]
    ranks: list[int]
    """The greater, the better; equal results have one. Trials that ended before a whole stretch of
    epochs are below all others, so ranks compare them where their scores would not."""
    trial_ids: list[str]
    logarithmic: frozenset[str]
    """Names that are drawn on a log scale."""
    metric: str
    states: list[str]
    winner: str | None
    """Its trial's id."""
    title: str = "{}"
    """Of the axis of scores; {} stands for the metric's label."""

    @cached_property
    def importances(self) -> Importances | None:
        return importances(self.points, self.ranks)

    @cached_property
    def telling(self) -> list[str]:
        """The names, those first that say most of the score: by importance, where that is known,
        else by what each explains alone."""
        found = self.importances
        if found is not None and found.explained > 0:
            worth = {item.name: item.mean for item in found.parameters}
        else:
            scored = list(zip(self.points, self.ranks, strict=True))
            worth = {name: share_explained(scored, name) for name in self.names}
        return sorted(self.names, key=lambda name: -worth.get(name, -math.inf))

    def places(self, name: str) -> dict[int, float]:
        """Returns where each trial that has the parameter stands, its axis being `stretch` long."""
        axis, values = self.axis(name)
        return {
            i: axis.at(value) * stretch(axis)
            for i, value in zip(self.given(name)[0], values, strict=True)
        }

    def given(self, name: str) -> tuple[list[int], list[Any]]:
        """Returns the places of the trials that have the parameter, and their values of it."""
        places = [i for i, point in enumerate(self.points) if name in point]
        return places, [self.points[i][name] for i in places]

    def hollow(self, place: int) -> bool:
        """Returns whether a trial ended before it was through."""
        return STATES[self.states[place]][1].endswith("-open")

    def color(self, place: int) -> str:
        """Returns the color of a trial's result: from the worst to the best, by rank."""
        return SCALE[round(self.ranks[place] / max(1, *self.ranks) * (len(SCALE) - 1))]

    def axis(self, name: str) -> tuple[Axis, list[float]]:
        """Returns the axis of a parameter, and where the trials that have it stand on it."""
        _, given = self.given(name)
        title = self.names[name]
        if _are_numbers(given) and not _is_category(given):
            numbers = [float(value) for value in given]
            if name in self.logarithmic and min(numbers) > 0:
                return logarithmic(title, numbers), numbers
            whole = all(isinstance(value, int) for value in given)
            return linear(title, numbers, whole=whole, most=5), numbers
        levels, places = ordered(given)
        return categories(title, [value_text(v) for v in levels]), [float(p) for p in places]


def jitter(place: int) -> float:
    """Returns a shift between -0.5 and 0.5 of the trial at this place."""
    return place * GOLDEN % 1 - 0.5


def _are_numbers(values: Sequence[JSON]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _is_category(values: Sequence[JSON]) -> bool:
    different = len(set(values))
    return different <= 2 or (different <= FEW_VALUES and 2 * different <= len(values))


def scored_trials(history: History, experiment: Experiment | None) -> Scored:
    """Returns the trials with a result; the seed is not a hyperparameter."""
    found, winner = results(history), searched_winner(history)
    known = [score for trial, _ in found if (score := history.score_of(trial)) is not None]
    ascending = sorted(set(known))
    return Scored(
        names=short_names([name for name in history.run.parameters if name != SEED]),
        points=[{n: v for n, v in t.parameters.items() if n != SEED} for t, _ in found],
        scores=[value for _, value in found],
        ranks=[bisect_left(ascending, score) for score in known],
        trial_ids=[trial.trial_id for trial, _ in found],
        states=[trial.state for trial, _ in found],
        logarithmic=_logarithmic(experiment),
        metric=history.run.metric,
        winner=winner.trial_id if winner else None,
        title=score_title(history),
    )


def _logarithmic(experiment: Experiment | None) -> frozenset[str]:
    try:
        parameters = search_space(experiment).parameters if experiment else {}
    except UserError:  # the run's log says what was tried; only the scale is not known then
        parameters = {}
    return frozenset(
        name for name, p in parameters.items() if isinstance(p, Numeric) and "log" in p.scale
    )
