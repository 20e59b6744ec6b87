"""Tells which points of a space are beyond the limits of its search, before one is trained."""

from collections.abc import Callable
from dataclasses import dataclass

from inat_ray.config.distributions import JSON, canonical
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.model import FreezableConfig
from inat_ray.config.space import IMAGE_SIZE
from inat_ray.config.trial import trial_experiment
from inat_ray.log.records import PointBeyond
from inat_ray.search.searchers import Point

MOST_IN_A_ROW = 300
"""A search ends once so many points in a row were beyond its limits: an infinite space may have no
other ones. If 2 % of a space are within, that happens by chance once in 400 times."""

NOT_OF_SIZE = {*FreezableConfig.model_fields, "dropout", "conv_dropout"}
"""Settings of a model that change neither its parameters nor its multiply-accumulates."""


def decides_size(name: str) -> bool:
    """Returns whether the size of a network depends on the setting of this dotted name."""
    section, _, setting = name.partition(".")
    is_of_model = section == "model" and setting.partition(".")[0] not in NOT_OF_SIZE
    return is_of_model or name == IMAGE_SIZE


@dataclass(frozen=True)
class Beyond:
    """A point of the space that is beyond the limits, and the size of its network."""

    parameters: dict[str, JSON]
    model_parameters: int
    macs: int

    def record(self) -> PointBeyond:
        return PointBeyond(
            parameters=self.parameters, model_parameters=self.model_parameters, macs=self.macs
        )


Limit = Callable[[Point], Beyond | None]
"""Returns a point with its size if that is beyond the limits; None if the point may be trained."""


def no_limit(_: Point) -> None:
    return None


def limit_of(experiment: Experiment, *, classes: int) -> Limit:
    """Returns the limits of an experiment's search; each size of network is counted once."""
    limits = experiment.search.limits
    if limits is None:
        return no_limit
    # PyTorch takes seconds to load, and a search without limits decides without it.
    from inat_ray.models.complexity import complexity

    known: dict[str, tuple[int, int]] = {}

    def limit(point: Point) -> Beyond | None:
        try:
            tried = trial_experiment(experiment, parameters=point, seed=experiment.seed)
            model = tried.model.model_dump(mode="json", exclude=NOT_OF_SIZE)
            name = canonical([model, tried.image_size])
            if name not in known:
                counted = complexity(tried, classes=classes)
                known[name] = (counted.parameters, counted.macs)
        except UserError:
            return None  # its trial will say what is wrong with it
        parameters, macs = known[name]
        is_within = limits.allow(parameters=parameters, macs=macs)
        return None if is_within else Beyond(point, parameters, macs)

    return limit
