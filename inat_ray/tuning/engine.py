"""What one training runs on: this process, or a group of workers on Ray.

Ray is imported by the latter alone: one process trains where there is none.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from inat_ray.config.experiment import Experiment
from inat_ray.data.dataset import DataSet
from inat_ray.run.folder import RunFolder
from inat_ray.training.device import device_of
from inat_ray.training.loop import Engine, Worker

if TYPE_CHECKING:
    from inat_ray.tuning.cluster import TrialResources


@contextmanager
def engine_room(
    experiment: Experiment, *, address: str | None = None, verbose: bool
) -> "Iterator[TrialResources | None]":
    """What the experiment's training will take; None for this process alone, without Ray.

    Raises UserError where there is not as much.
    """
    if experiment.resources.workers_per_trial == 1:
        device_of(experiment)
        yield None
        return
    from inat_ray.tuning.cluster import ray_session, trial_resources

    with ray_session(address=address, verbose=verbose):
        yield trial_resources(experiment)


@contextmanager
def spread(
    data: DataSet,
    resources: "TrialResources | None",
    *,
    run: RunFolder,
    tell: Callable[[str], None],
) -> Iterator[DataSet]:
    """The data wherever the training will be."""
    if resources is None:
        yield data
        return
    from inat_ray.tuning.provision import provisioned

    with provisioned(data, run=run, tell=tell) as everywhere:
        yield everywhere


@contextmanager
def engine(
    experiment: Experiment, resources: "TrialResources | None", *, run: RunFolder
) -> Iterator[Engine]:
    """The engine for as long as the context lasts; its processes end with it."""
    if resources is None:
        yield Worker(device_of(experiment), progress=True)
        return
    from inat_ray.training.distributed import worker_group

    with worker_group(
        resources.of_a_group,
        storage=run.shared,
        max_failures=experiment.resources.max_failures,
    ) as workers:
        yield workers
