"""The searchers: how a search chooses the points that it tries. A new one is one more entry here.

Whatever lists, checks, labels, or asks a searcher asks its entry: experiments and their JSON
Schema, the run log, the search itself, `simulate`, and the report. `config/search.py` takes the
names from here, so this file loads neither NumPy nor another room: it names their types alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from inat_ray.config.distributions import Codes
    from inat_ray.config.search import SearchConfig
    from inat_ray.config.space import SearchSpace
    from inat_ray.log.history import History

Point = dict[str, Any]
"""Dotted name of a parameter -> its value."""

Suggest = Callable[["SearchConfig", "SearchSpace", "History", "np.random.Generator"], Point | None]
"""Returns the next point, or None if every point of the space has been tried.

It is a pure function of its arguments, so that a search can be replayed, resumed, and simulated
from its log. The generator is seeded by the search's seed and the number of the suggestion.
"""

DRAWS = 8
"""How often a searcher draws again if a point was tried already, before it picks from those that
were not."""

RANDOM_EVERY = 2
"""Of the first trials of a search that knows other runs, one in so many is drawn at random: by
those that a source chose alone, one that knows something is hard to tell from one that does not."""


@dataclass(frozen=True)
class Searcher:
    """A way to choose the points of a search."""

    name: str
    """Its name in experiments and in the run log."""
    label: str
    """What the report calls such a search."""
    meaning: str
    """Explains it to those who write an experiment."""
    suggest: Suggest
    is_exhaustive: bool = False
    """Whether it tries every point of a finite space, in an order that is known beforehand."""
    learns: bool = False
    """Whether it makes use of results, and so of other runs' trials."""


def suggest_random(
    _search: SearchConfig, space: SearchSpace, history: History, rng: np.random.Generator
) -> Point | None:
    """Draws parameters independently; the generator alone decides, except for points tried."""

    def draw() -> Point:
        return space.from_units({name: float(rng.random()) for name in space.parameters})

    def pick(left: Codes) -> int:
        return int(rng.integers(len(left)))

    return _untried(space, history, draw=draw, pick=pick)


def suggest_grid(
    _search: SearchConfig, space: SearchSpace, history: History, _rng: np.random.Generator
) -> Point | None:
    """Returns the grid's first point that was not tried; the last parameter varies fastest."""
    assert space.grid is not None
    names = space.grid_names
    # The search is seldom more than the first points ahead of the number of those suggested, unless
    # the grid was changed meanwhile.
    start = 0 if history.changed else history.suggested
    places = (*range(start, len(names)), *range(start))
    place = next((i for i in places if names[i] not in history.points), None)
    return None if place is None else space.grid[place]


def suggest_tpe(
    search: SearchConfig, space: SearchSpace, history: History, rng: np.random.Generator
) -> Point | None:
    """Asks HyperOpt's TPE, once there are enough trials to tell it of: own ones, or other runs'."""
    number = len(history.searched)
    # The trials that were planned when the run began: an extension does not start up again.
    starts = number < startup_trials(history.run.trials)
    if starts and (not history.known or number % RANDOM_EVERY == RANDOM_EVERY - 1):
        return suggest_random(search, space, history, rng)
    # HyperOpt takes long to load, and every command reads this file.
    from inat_ray.search.observations import observations
    from inat_ray.search.sources import told_by_sources
    from inat_ray.search.tpe import fitted

    told = told_by_sources(space, history, search.early_stopping)
    if starts and not told:
        return suggest_random(search, space, history, rng)
    model = fitted(space, [*told, *observations(history, search.early_stopping)])
    return _untried(space, history, draw=lambda: model.propose(rng), pick=model.best_of)


def startup_trials(trials: int) -> int:
    """Returns how many random suggestions come before TPE: a third of a small sweep, or 20.

    HyperOpt's own 20 would make a 16-trial sweep a random one.
    """
    return min(20, max(4, round(trials / 3)))


def _untried(
    space: SearchSpace,
    history: History,
    *,
    draw: Callable[[], Point],
    pick: Callable[[Codes], int],
) -> Point | None:
    """Returns the first of a few draws that the search has not tried.

    If all have been tried, it picks from the untried points of a finite space; an infinite one
    gets the last draw.
    """
    for _ in range(DRAWS):
        drawn = draw()
        if not history.has_tried(drawn):
            return drawn
    if space.grid is None:
        return drawn
    left = [i for i, name in enumerate(space.grid_names) if name not in history.points]
    return space.grid[left[pick(space.grid_codes[left])]] if left else None


SEARCHERS = {
    searcher.name: searcher
    for searcher in (
        Searcher(
            name="random",
            label="random search",
            meaning="independent draws",
            suggest=suggest_random,
        ),
        Searcher(
            name="bayes",
            label="Bayesian search (TPE)",
            meaning="a tree-structured Parzen estimator (TPE)",
            suggest=suggest_tpe,
            learns=True,
        ),
        Searcher(
            name="grid",
            label="grid search",
            meaning="every point of a finite space once, the parameter listed last varying fastest",
            suggest=suggest_grid,
            is_exhaustive=True,
        ),
        Searcher(
            name="ablation",
            label="ablation: one change at a time",
            meaning="the experiment as it is, then every value of every parameter with all else as"
            " it is; each with every `seed`, if that is a parameter",
            suggest=suggest_grid,  # `config.space` makes a grid of single changes for it
            is_exhaustive=True,
        ),
    )
}
