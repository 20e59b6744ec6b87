"""What one training runs on: this process, or a group of workers on Ray.

Ray is imported for the group alone: `train` with one worker works without it.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from inat_ray.config.experiment import Experiment
from inat_ray.config.resources import Resources
from inat_ray.data.dataset import DataSet
from inat_ray.run.folder import RunFolder
from inat_ray.storage.place import Place
from inat_ray.training.device import device_of, limit_memory, resolve_device
from inat_ray.training.loop import Engine, Worker
from inat_ray.training.machine import stand_back


@contextmanager
def ray_if_needed(
    experiment: Experiment, *, address: str | None = None, verbose: bool
) -> Iterator[Resources]:
    """Yields the resources of the experiment's training; if it has several workers, Ray is up.

    Raises UserError if they are not available.
    """
    resources = experiment.resources
    if resources.workers_per_trial == 1:
        gpus = float(device_of(experiment).type == "cuda")
        yield resources.model_copy(update={"gpus_per_worker": gpus})
        return
    from inat_ray.tuning.cluster import trial_resources
    from inat_ray.tuning.session import ray_session

    with ray_session(address=address, verbose=verbose):
        yield trial_resources(experiment)


def data_for(
    resources: Resources, data: DataSet, *, run: RunFolder, tell: Callable[[str], None]
) -> AbstractContextManager[DataSet]:
    """Yields the data in a form that every process of the training can open."""
    if resources.workers_per_trial == 1:
        return nullcontext(data)
    from inat_ray.tuning.provision import provisioned

    return provisioned(data, run=run, tell=tell)


@contextmanager
def engine(
    resources: Resources,
    experiment: Experiment,
    *,
    storage: Place,
    threads: int | None = None,
    progress: bool = False,
) -> Iterator[Engine]:
    """Yields what trains: this process if there is one worker, else a group of workers.

    `resources` are the experiment's, with the number of GPUs settled. `storage` is a place that all
    workers see. `threads` is for this process, if it is the one that trains; a group's workers have
    their share of the CPUs.
    """
    if resources.workers_per_trial == 1:
        if threads is not None:
            torch.set_num_threads(threads)
            stand_back(resources.niceness)
        device = worker_device(resources, experiment)
        limit_memory(device, share=resources.gpus_per_worker or 0)
        yield Worker(device, progress=progress)
        return
    from inat_ray.training.worker_group import WorkerGroup

    with WorkerGroup(resources, storage=storage) as workers:
        yield workers


def worker_device(resources: Resources, experiment: Experiment) -> torch.device:
    """Returns a worker's device: a process that was given no GPU must not take one it sees.

    Ray knows nothing of Apple's GPUs: there, all trials share the one. Raises UserError if the
    experiment wants it and there is none.
    """
    if resources.gpus_per_worker:
        return torch.device("cuda")
    is_open = experiment.device == "auto" and experiment.resources.gpus_per_worker is None
    is_apple = is_open and torch.backends.mps.is_available()
    return resolve_device("mps" if is_apple or experiment.device == "mps" else "cpu")
