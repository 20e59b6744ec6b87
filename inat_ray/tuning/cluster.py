"""Ray: a session of it, and what the cluster can give to trials."""

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
import yaml

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.training.distributed import WorkerResources

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


AUTOSCALER_CONFIG = Path("~/ray_bootstrap_config.yaml").expanduser()
"""Where `ray up` leaves the cluster file on the head node, filled out. Ray itself does not say what
its autoscaler may add, and a cluster that is asked for nothing yet has no workers."""

UNBOUNDED = 4096
"""Nodes of a type for which a cluster file has no limit."""


@dataclass(frozen=True)
class Node:
    """Nodes of one kind."""

    cpus: float
    gpus: float
    count: int = 1


@dataclass(frozen=True)
class TrialResources:
    """What each training takes, and how many fit at once."""

    workers: int
    cpus: int
    """Of a worker."""
    gpus: float
    """Of a worker; whole where there are several."""
    slots: int

    @property
    def device(self) -> torch.device:
        """Of a worker: a process that was given no GPU must not take one that it sees."""
        return torch.device("cuda" if self.gpus else "cpu")

    @property
    def of_a_group(self) -> WorkerResources:
        return WorkerResources(workers=self.workers, cpus=self.cpus, gpus=int(self.gpus))


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

    Raises UserError where not a single trial ever fits.
    """
    wanted = experiment.resources
    cpus, gpus = wanted.cpus_per_worker, gpus_of_worker(experiment)
    places = places_for(_nodes(), cpus=cpus, gpus=gpus)
    if places < wanted.workers_per_trial:
        raise UserError(_does_not_fit(wanted.workers_per_trial, places, cpus=cpus, gpus=gpus))
    slots = places // wanted.workers_per_trial
    if wanted.max_concurrent is not None:
        slots = min(slots, wanted.max_concurrent)
    return TrialResources(workers=wanted.workers_per_trial, cpus=cpus, gpus=gpus, slots=slots)


def final_resources(experiment: Experiment) -> TrialResources:
    """What the winner's training takes: `final_workers`, or a worker a GPU if there are several."""
    workers = experiment.resources.final_workers
    if workers is None:
        gpus = int(ray.cluster_resources().get("GPU", 0)) if gpus_of_worker(experiment) else 0
        workers = min(max(1, gpus), experiment.recipe.batch_size)
    settings: dict[str, Any] = {"workers_per_trial": workers, "max_concurrent": 1}
    if workers > 1 and gpus_of_worker(experiment):
        settings["gpus_per_worker"] = math.ceil(gpus_of_worker(experiment))
    resources = experiment.resources.model_copy(update=settings)
    return trial_resources(experiment.model_copy(update={"resources": resources}))


def gpus_of_worker(experiment: Experiment) -> float:
    """One GPU where the cluster has any, unless the experiment says otherwise."""
    if experiment.device == "cpu":
        return 0.0
    wanted = experiment.resources.gpus_per_worker
    if wanted is not None:
        return wanted
    return 1.0 if any(node.gpus for node in _nodes()) else 0.0


def places_for(nodes: Sequence[Node], *, cpus: int, gpus: float) -> int:
    """How many workers fit; one never spans two nodes."""
    return sum(
        node.count * min(int(node.cpus // cpus), int(node.gpus / gpus) if gpus else 10**9)
        for node in nodes
    )


def _nodes() -> list[Node]:
    """The nodes that there are, or on an autoscaler's head node those that there can be."""
    if AUTOSCALER_CONFIG.exists():
        return nodes_of_autoscaler(yaml.safe_load(AUTOSCALER_CONFIG.read_text(encoding="utf-8")))
    return [
        Node(cpus=node["Resources"].get("CPU", 0), gpus=node["Resources"].get("GPU", 0))
        for node in ray.nodes()
        if node["Alive"]
    ]


def nodes_of_autoscaler(config: Mapping[str, Any]) -> list[Node]:
    """The head, and of every other type of node as many as the cluster file allows."""
    types = config["available_node_types"]
    most = config.get("max_workers", UNBOUNDED)
    return [
        Node(
            cpus=kind.get("resources", {}).get("CPU", 0),
            gpus=kind.get("resources", {}).get("GPU", 0),
            count=kind.get("max_workers", most) + (name == config["head_node_type"]),
        )
        for name, kind in types.items()
    ]


def _does_not_fit(workers: int, places: int, *, cpus: int, gpus: float) -> str:
    each = f"{cpus} CPU{'s' if cpus > 1 else ''}"
    each += f" and {gpus:g} GPU{'s' if gpus > 1 else ''}" if gpus else ""
    total = ray.cluster_resources()
    return (
        f"resources: {workers} worker{'s' if workers > 1 else ''} of {each} wanted"
        f" (workers_per_trial or final_workers, cpus_per_worker, gpus_per_worker):"
        f" the cluster has room for {places}; now it has {total.get('CPU', 0):g} CPUs and"
        f" {total.get('GPU', 0):g} GPUs"
    )
