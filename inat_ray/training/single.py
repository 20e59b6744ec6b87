"""One configuration trained to its end, the best epoch's model kept."""

from collections.abc import Iterator
from pathlib import Path

from inat_ray.config.experiment import Metric
from inat_ray.training.checkpoint import save_model
from inat_ray.training.fit import EpochMetrics, Fit


def train_keeping_best(fit: Fit, *, metric: Metric, model_path: Path) -> Iterator[EpochMetrics]:
    """Trains `fit` to its end, yielding each epoch's metrics.

    Whenever an epoch is yielded, `model_path` holds the model of the best one so far (the
    earliest of equals). Ends early where the loss is no longer a number.
    """
    sign = 1 if metric.goal == "maximize" else -1
    best = float("-inf")
    while not fit.finished:
        metrics = fit.epoch()
        score = sign * getattr(metrics, metric.name)
        if score > best:  # never true of NaN
            best = score
            save_model(model_path, fit)
        yield metrics
        if fit.diverged:
            return
