"""The winner's configuration, trained once more on the cluster for the model that is kept."""

from collections.abc import Iterator
from typing import Any

import ray
import torch
from ray.exceptions import NodeDiedError, ObjectLostError, WorkerCrashedError

from inat_ray.config.errors import RunFailedError
from inat_ray.run.checkpoints import StartingPoint
from inat_ray.run.folder import RunFolder
from inat_ray.training.distributed import worker_group
from inat_ray.training.loop import Engine, Job, TrainedEpoch, Worker, train_to_the_end
from inat_ray.tuning.cluster import TrialResources, final_resources

LOST = (NodeDiedError, WorkerCrashedError, ObjectLostError)
"""What Ray says of a task whose process or node is gone."""


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
    """A process that dies, with its node or alone, is replaced by one that goes on after it."""
    failures, most = 0, job.experiment.resources.max_failures
    while True:
        try:
            for epoch in _task(job, resources, start):
                done = ray.get(epoch)
                start, failures = StartingPoint(done.metrics.epoch, done.checkpoint), 0
                yield done
            return
        except LOST as error:
            failures += 1
            if failures > most:
                raise RunFailedError(
                    f"the process that trains the winner died {failures} times at epoch"
                    f" {start.epochs_done + 1}, and resources.max_failures is {most}: {error}"
                ) from None


def _task(job: Job, resources: TrialResources, start: StartingPoint) -> Any:
    """A process that trains; gives a reference to each epoch as it ends."""
    threads = resources.cpus if resources.gpus else _cpus_of_largest_node(resources)
    task: Any = ray.remote(_train).options(  # type: ignore[arg-type]
        num_cpus=threads,
        num_gpus=resources.gpus,
        resources=resources.of_the_kind,
        num_returns="streaming",
        max_retries=0,  # Ray would begin at the same epoch again
    )
    return task.remote(job, start, device=resources.device, threads=threads)


def _train(
    job: Job, start: StartingPoint, *, device: torch.device, threads: int
) -> Iterator[TrainedEpoch]:
    torch.set_num_threads(threads)
    yield from _epochs(job, Worker(device), start)


def _epochs(job: Job, engine: Engine, start: StartingPoint) -> Iterator[TrainedEpoch]:
    return train_to_the_end(
        job, engine, epochs_done=start.epochs_done, resume_from=start.checkpoint
    )


def _cpus_of_largest_node(wanted: TrialResources) -> int:
    """Of those that are there and of the kind that is wanted: once idle workers have gone, perhaps
    a head without any, and then what is wanted at least."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fit = [node for node in nodes if wanted.of_the_kind.keys() <= node.keys()]
    return max([wanted.cpus, *(int(node.get("CPU", 0)) for node in fit)])
