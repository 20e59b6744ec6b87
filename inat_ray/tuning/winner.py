"""The winner's configuration, trained once more on the cluster for the model that is kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
import torch

from inat_ray.config.experiment import Experiment
from inat_ray.data.dataset import DataSet
from inat_ray.training.fit import EpochMetrics, Fit
from inat_ray.training.single import train_keeping_best
from inat_ray.tuning.cluster import trial_resources


def train_winner(
    experiment: Experiment, *, data: DataSet, model_path: Path
) -> Iterator[EpochMetrics]:
    """Trains in a Ray worker with a trial's GPUs, or else with every CPU of a node.

    Yields each epoch's metrics as it ends; by then `model_path` holds the best model so far.
    """
    resources = trial_resources(experiment)
    threads = resources.cpus if resources.gpus else _cpus_of_largest_node()
    worker: Any = ray.remote(_train).options(  # type: ignore[arg-type]
        num_cpus=threads, num_gpus=resources.gpus, num_returns="streaming", max_retries=0
    )
    epochs = worker.remote(
        experiment,
        data=data,
        model_path=model_path.resolve(),
        device=resources.device,
        threads=threads,
    )
    for epoch in epochs:
        yield ray.get(epoch)


def _train(
    experiment: Experiment,
    *,
    data: DataSet,
    model_path: Path,
    device: torch.device,
    threads: int,
) -> Iterator[EpochMetrics]:
    torch.set_num_threads(threads)
    fit = Fit(experiment, data, device=device)
    yield from train_keeping_best(fit, metric=experiment.search.metric, model_path=model_path)


def _cpus_of_largest_node() -> int:
    return max(int(node["Resources"].get("CPU", 1)) for node in ray.nodes() if node["Alive"])
