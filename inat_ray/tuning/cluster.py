"""Ray: a session of it, and what the cluster can give to trials."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray
import torch

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment

QUIET = {
    # Ray's own per-trial files and tables; the run log, TensorBoard and our table replace them.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Ctrl-C is ours: Tune's handler would only save its own state and go on for a while.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Every epoch is judged before the next begins.
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    # Tune's older output keeps quiet at verbose=0; the newer prints a box even then.
    "RAY_AIR_NEW_OUTPUT": "0",
    # A warning of Ray's that a future release changes this by itself.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True)
class TrialResources:
    """What each trial takes, and how many fit at once."""

    cpus: int
    gpus: float
    slots: int

    @property
    def device(self) -> torch.device:
        """Of a trial: a process that was given no GPU must not take one that it sees."""
        return torch.device("cuda" if self.gpus else "cpu")


@contextmanager
def ray_session(*, verbose: bool) -> Iterator[None]:
    """A local Ray for as long as the context lasts; an instance that is up already is used."""
    os.environ.update(QUIET)
    if ray.is_initialized():
        yield
        return
    # A trial that fails is told by our log and table; Tune would print its traceback twice.
    level = logging.INFO if verbose else logging.CRITICAL
    for name in ("ray", "ray.tune", "ray.data", "ray.train"):
        logging.getLogger(name).setLevel(level)
    ray.init(include_dashboard=False, log_to_driver=verbose, logging_level=level)
    try:
        yield
    finally:
        ray.shutdown()


def trial_resources(experiment: Experiment) -> TrialResources:
    """The share of this cluster that a trial of the experiment takes.

    Raises UserError where not a single trial fits.
    """
    wanted = experiment.resources
    total = ray.cluster_resources()
    cpus, gpus = int(total.get("CPU", 0)), float(total.get("GPU", 0))
    gpus_each = wanted.gpus_per_worker
    if experiment.device == "cpu":
        gpus_each = 0.0
    elif gpus_each is None:
        gpus_each = 1.0 if gpus else 0.0
    if wanted.cpus_per_worker > cpus:
        raise UserError(
            f"resources.cpus_per_worker: {wanted.cpus_per_worker}: the cluster has {cpus} CPUs"
        )
    if gpus_each > gpus:
        raise UserError(f"resources.gpus_per_worker: {gpus_each}: the cluster has {gpus:g} GPUs")
    slots = cpus // wanted.cpus_per_worker
    if gpus_each:
        slots = min(slots, int(gpus / gpus_each))
    if wanted.max_concurrent is not None:
        slots = min(slots, wanted.max_concurrent)
    return TrialResources(cpus=wanted.cpus_per_worker, gpus=gpus_each, slots=slots)
