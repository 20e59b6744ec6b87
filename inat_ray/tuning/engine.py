"""What one training runs on: this process, or a group of workers on Ray."""

from collections.abc import Iterator
from contextlib import contextmanager

from inat_ray.config.experiment import Experiment
from inat_ray.training.device import device_of
from inat_ray.training.distributed import worker_group
from inat_ray.training.run import Engine, Worker
from inat_ray.tuning.cluster import TrialResources, ray_session, trial_resources
from inat_ray.tuning.run_folder import RunFolder


@contextmanager
def engine_room(experiment: Experiment, *, verbose: bool) -> Iterator[TrialResources | None]:
    """What the experiment's training will take; None for this process alone, without Ray.

    Raises UserError where there is not as much.
    """
    if experiment.resources.workers_per_trial == 1:
        device_of(experiment)
        yield None
        return
    with ray_session(verbose=verbose):
        yield trial_resources(experiment)


@contextmanager
def engine(
    experiment: Experiment, resources: TrialResources | None, *, run: RunFolder
) -> Iterator[Engine]:
    """The engine for as long as the context lasts; its processes end with it."""
    if resources is None:
        yield Worker(device_of(experiment), progress=True)
        return
    with worker_group(
        resources.of_a_group,
        storage=run.path.resolve(),
        max_failures=experiment.resources.max_failures,
    ) as workers:
        yield workers
