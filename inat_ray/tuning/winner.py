"""The winner's configuration, trained once more on the cluster for the model that is kept."""

from collections.abc import Iterator
from typing import Any

import ray
import torch

from inat_ray.search.run_folder import RunFolder
from inat_ray.training.distributed import worker_group
from inat_ray.training.run import Engine, Job, TrainedEpoch, Worker, train_to_the_end
from inat_ray.tuning.checkpoints import StartingPoint
from inat_ray.tuning.cluster import TrialResources, final_resources


def train_winner(job: Job, *, run: RunFolder, start: StartingPoint) -> Iterator[TrainedEpoch]:
    """Trains on the GPUs of the cluster, or else with every CPU of a node.

    Each epoch is yielded as it ends; by then the job's best model so far is in its place.
    """
    resources = final_resources(job.experiment)
    if resources.workers == 1:
        yield from _train_in_a_task(job, resources, start)
        return
    max_failures = job.experiment.resources.max_failures
    group = worker_group(resources.of_a_group, storage=run.shared, max_failures=max_failures)
    with group as workers:
        yield from _epochs(job, workers, start)


def _train_in_a_task(
    job: Job, resources: TrialResources, start: StartingPoint
) -> Iterator[TrainedEpoch]:
    threads = resources.cpus if resources.gpus else max(resources.cpus, _cpus_of_largest_node())
    task: Any = ray.remote(_train).options(  # type: ignore[arg-type]
        num_cpus=threads, num_gpus=resources.gpus, num_returns="streaming", max_retries=0
    )
    for epoch in task.remote(job, start, device=resources.device, threads=threads):
        yield ray.get(epoch)


def _train(
    job: Job, start: StartingPoint, *, device: torch.device, threads: int
) -> Iterator[TrainedEpoch]:
    torch.set_num_threads(threads)
    yield from _epochs(job, Worker(device), start)


def _epochs(job: Job, engine: Engine, start: StartingPoint) -> Iterator[TrainedEpoch]:
    return train_to_the_end(
        job, engine, epochs_done=start.epochs_done, resume_from=start.checkpoint
    )


def _cpus_of_largest_node() -> int:
    """Of those that are there: once idle workers have gone, perhaps a head without any."""
    return max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
