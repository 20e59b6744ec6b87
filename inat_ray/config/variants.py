"""Finds the networks and the image sizes that the trials of a search can have.

All trials share one pack, of the largest size, and every network is tried before the first trial.
"""

from collections.abc import Iterable

from inat_ray.config.distributions import JSON, canonical
from inat_ray.config.experiment import SIZE_FOLLOWS, Experiment
from inat_ray.config.space import IMAGE_SIZE, SearchSpace, search_space
from inat_ray.config.trial import experiment_at

OF_THE_SIZE = (*SIZE_FOLLOWS, IMAGE_SIZE)

MOST_VARIANTS = 200
"""Of more combinations than this some are left out, and no value."""


def with_room_for_all(experiment: Experiment, *, where: str) -> Experiment:
    """Returns it with the size that its trials have, or with a pack for the largest of several.

    Raises UserError as `search_space`.
    """
    if not any(name in experiment.search.parameters for name in OF_THE_SIZE):
        return experiment
    sizes = image_sizes(experiment, search_space(experiment, where=where))
    data = experiment.data
    if data.image_size is None and len(sizes) == 1:
        data = data.model_copy(update={"image_size": sizes[0]})
    elif data.pack_size is None and len(sizes) > 1:
        at_largest = data.model_copy(update={"image_size": sizes[-1]})
        data = data.model_copy(update={"pack_size": at_largest.pack_side})
    return experiment.model_copy(update={"data": data})


def image_sizes(experiment: Experiment, space: SearchSpace) -> list[int]:
    """Returns the sizes of images that trials can have, ascending; of a range, its ends."""
    tried = (experiment_at(experiment, point) for point in variants(space, OF_THE_SIZE))
    return sorted({each.image_size for each in tried if each is not None})


def variants(space: SearchSpace, names: Iterable[str]) -> list[dict[str, JSON]]:
    """Returns the combinations of these parameters' values; a range stands there by its ends.

    The parameters on which they depend are in the points, too.
    """
    wanted = {*names}
    for name in reversed([*space.parameters]):  # one that depends on another stands below it
        wanted |= space.conditions.get(name, {}).keys() if name in wanted else set()
    if space.base is not None:  # of an ablation, which has not all combinations
        assert space.grid is not None
        cut = [{n: value for n, value in point.items() if n in wanted} for point in space.grid]
        return list({canonical(point): point for point in cut}.values())
    points: list[dict[str, JSON]] = [{}]
    for name, parameter in space.parameters.items():
        if name in wanted:
            there = [point for point in points if space.exists(name, point)]
            elsewhere = [point for point in points if not space.exists(name, point)]
            points = elsewhere + _widened(there, name, parameter.extremes)
    return points


def _widened(points: list[dict[str, JSON]], name: str, values: list[JSON]) -> list[dict[str, JSON]]:
    if len(points) * len(values) <= MOST_VARIANTS:
        return [point | {name: value} for point in points for value in values]
    count = max(len(points), len(values))
    return [points[k % len(points)] | {name: values[k % len(values)]} for k in range(count)]
