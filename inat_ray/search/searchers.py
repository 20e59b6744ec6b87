"""What to try next: suggestions as pure functions of (space, history, seed, number).

Nothing here keeps state, so a search can be replayed, resumed and simulated from its log.
"""

from collections.abc import Callable, Sequence

import numpy as np

from inat_ray.config.distributions import Codes, canonical
from inat_ray.config.search import SearchConfig
from inat_ray.config.space import SearchSpace
from inat_ray.log.history import History
from inat_ray.log.records import JSON
from inat_ray.search.observations import observations
from inat_ray.search.tpe import Observation, fitted

Suggest = Callable[[SearchSpace, History, int, int], dict[str, JSON] | None]
"""(space, history, seed, number of the trial, counted from 0) -> parameters; None where every
point of the space has been tried."""

DEFAULT_TRIALS = 10
"""Of a random or Bayesian search that does not say how many."""

DRAWS = 8
"""How often a searcher draws again where a point was tried already, before it picks from those
that were not."""


def searcher(config: SearchConfig, space: SearchSpace) -> Suggest:
    """The suggestion function of a search's method."""
    if config.is_exhaustive:
        return suggest_grid
    startup = startup_trials(planned_trials(config, space))

    def suggest(
        space: SearchSpace, history: History, seed: int, number: int
    ) -> dict[str, JSON] | None:
        if number < len(space.first):
            return space.first[number]
        if config.method == "random" or len(history.known) + number < startup:
            return suggest_random(space, history, seed, number)
        told = observations(history, config.early_stopping)
        return suggest_tpe(space, history, seed, number, told=told)

    return suggest


def planned_trials(config: SearchConfig, space: SearchSpace) -> int:
    """How many trials a search runs: never more than the points of a finite space.

    Where another budget ends the search, there is no number of trials to plan with.
    """
    budgets = (config.epochs, config.time, config.target)
    wanted = config.trials
    if config.is_exhaustive:
        assert space.grid is not None
        return min(wanted or len(space.grid), len(space.grid))
    if wanted is None:
        wanted = DEFAULT_TRIALS if budgets == (None, None, None) else 100_000
    if space.grid is not None:
        # A first point may have a value that is never drawn.
        return min(wanted, len({*space.grid_names, *map(canonical, space.first)}))
    return wanted


def startup_trials(trials: int) -> int:
    """Random suggestions before TPE takes over: a third of a small sweep, 20 of a large one.

    HyperOpt's own 20 would make a 16-trial sweep a random one.
    """
    return min(20, max(4, round(trials / 3)))


def suggest_random(
    space: SearchSpace, history: History, seed: int, number: int
) -> dict[str, JSON] | None:
    """Independent draws; the number-th is the same whatever came before, but for points that
    were tried already."""
    rng = np.random.default_rng([seed, number])

    def draw() -> dict[str, JSON]:
        return space.from_units({name: float(rng.random()) for name in space.parameters})

    def pick(left: Codes) -> int:
        return int(rng.integers(len(left)))

    return _untried(space, history, draw=draw, pick=pick)


def suggest_grid(
    space: SearchSpace, history: History, _seed: int, _number: int
) -> dict[str, JSON] | None:
    """The first point of the grid that was not tried; the parameter listed last varies fastest."""
    assert space.grid is not None
    names = space.grid_names
    # The search is seldom more than the first points ahead of its number of trials.
    places = (*range(len(history.searched), len(names)), *range(len(history.searched)))
    place = next((i for i in places if names[i] not in history.points), None)
    return None if place is None else space.grid[place]


def suggest_tpe(
    space: SearchSpace, history: History, seed: int, number: int, *, told: Sequence[Observation]
) -> dict[str, JSON] | None:
    """HyperOpt's TPE, told of the observations."""
    rng = np.random.default_rng([seed, number])
    model = fitted(space, told)
    return _untried(space, history, draw=lambda: model.propose(rng), pick=model.best_of)


def _untried(
    space: SearchSpace,
    history: History,
    *,
    draw: Callable[[], dict[str, JSON]],
    pick: Callable[[Codes], int],
) -> dict[str, JSON] | None:
    """The first of a few draws that is no point of the search yet.

    After so many it is the one that is picked from the untried points of a finite space, or the
    last draw where the space has no end.
    """
    for _ in range(DRAWS):
        drawn = draw()
        if canonical(drawn) not in history.points:
            return drawn
    if space.grid is None:
        return drawn
    left = [i for i, name in enumerate(space.grid_names) if name not in history.points]
    return space.grid[left[pick(space.grid_codes[left])]] if left else None
