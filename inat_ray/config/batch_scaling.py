"""A batch size that grows with the workers, and the learning rate with it."""

import math
from typing import Literal

from inat_ray.config.experiment import Experiment

ScalingRule = Literal["linear", "sqrt"]


def scaled_batch(experiment: Experiment, rule: ScalingRule) -> Experiment:
    """Returns the experiment with `workers_per_trial` times its batch size.

    Each worker then has as many images in a step as the experiment says.

    The learning rate grows by the same factor (linear: Goyal et al., 2017, for SGD) or by its
    square root (Krizhevsky, 2014; the usual choice for Adam).
    """
    workers = experiment.resources.workers_per_trial
    factor = workers if rule == "linear" else math.sqrt(workers)
    recipe = experiment.recipe.model_copy(
        update={
            "batch_size": experiment.recipe.batch_size * workers,
            "lr": experiment.recipe.lr * factor,
        }
    )
    # Validated again: a learning rate may leave its bounds.
    tree = experiment.model_dump() | {"recipe": recipe.model_dump()}
    return Experiment.model_validate(tree)
