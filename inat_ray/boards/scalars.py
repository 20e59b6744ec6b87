"""The scalars that boards show, by tag."""

import math
from collections.abc import Mapping

from inat_ray.config.epoch import EpochMetrics
from inat_ray.config.metrics import METRICS
from inat_ray.log.history import History

EPOCH = {
    "train/loss": "train_loss",
    "train/accuracy": "train_accuracy",
    **{name.replace("_", "/", 1): name for name in METRICS},
    "lr": "lr",
    "images_per_second": "images_per_second",
}
"""Tag -> field of an epoch's record."""


def epoch_scalars(record: EpochMetrics, tags: Mapping[str, str] = EPOCH) -> dict[str, float]:
    """Returns an epoch's numbers by tag; a metric that an older log lacks is NaN."""
    return {tag: getattr(record, field, math.nan) for tag, field in tags.items()}


def search_scalars(history: History) -> tuple[int, dict[str, float]]:
    """Returns the number of the search's trials that ended, and its scalars so far by tag."""
    values = {"search/epochs_spent": float(history.epochs_spent)}
    if (best := history.best_score) is not None:
        values["search/best_score"] = history.turned(best.value)
    return history.trials_over, values
