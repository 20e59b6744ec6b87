"""Tries points of a search space on the experiment before one is trained.

The ends of each range are tried where it is read (see space.py). Here are tried settings that
depend on each other, such as phases of a schedule that must not add up to more than 1.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from pydantic import ValidationError

from inat_ray.config.distributions import JSON
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.faults import explain_fault, shown
from inat_ray.config.space import SearchSpace
from inat_ray.config.trial import with_parameters

POINTS = 200
"""Points from the corners, and as many from the inside. Both take 20 ms."""


def check_inside(experiment: Experiment, space: SearchSpace, *, where: str) -> None:
    """Raises UserError where a point that the search may try is an invalid combination of settings.

    Points are drawn as random search draws them, and from the corners: the ends of ranges, where
    invalid combinations meet first. A small grid is tried whole.
    """
    points = list(sampled(space, seed=experiment.seed))
    faulty = [point for point in points if _fault(experiment, point)]
    if not faulty:
        return
    least = _least(experiment, faulty[0])
    settings = ", ".join(f"{name} {shown(value)}" for name, value in least.items())
    raise UserError(
        f"{where}: search.parameters: {len(faulty)} of {len(points)} points are invalid"
        f" combinations of settings, such as {settings}:"
        f" {_fault(experiment, least)}; give other values, or a `when`"
    )


def sampled(space: SearchSpace, *, seed: int) -> Iterator[dict[str, JSON]]:
    """Yields points that stand for all: first points, corners, and draws, or a small grid."""
    yield from space.first
    rng = np.random.default_rng(seed)
    if space.grid is not None:
        count = len(space.grid)
        chosen = range(count) if count <= 2 * POINTS else rng.choice(count, 2 * POINTS)
        yield from (space.grid[place] for place in chosen)
        return
    width = len(space.parameters)
    ends = rng.choice([0.0, np.nextafter(1.0, 0.0)], (POINTS, width))
    for units in (*ends, *rng.random((POINTS, width))):
        yield space.from_units(dict(zip(space.parameters, map(float, units), strict=True)))


def _fault(experiment: Experiment, point: Mapping[str, JSON]) -> str | None:
    try:
        with_parameters(experiment, point)
    except ValidationError as error:
        return explain_fault(error.errors()[0])
    return None


def _least(experiment: Experiment, point: dict[str, JSON]) -> dict[str, JSON]:
    """Returns the point without the parameters that its fault does not depend on."""
    for name in list(point):
        without = {other: value for other, value in point.items() if other != name}
        if without and _fault(experiment, without):
            point = without
    return point
