"""What the cluster can give to trials: nodes, their CPUs and GPUs, and how many trials fit."""

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
import yaml

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.resources import Resources

AUTOSCALER_CONFIG = Path("~/ray_bootstrap_config.yaml").expanduser()
"""The copy of the cluster file that `ray up` leaves on the head node. It is read because Ray does
not say what its autoscaler may add, and a cluster without work has no worker nodes yet."""

GPU_TYPE = "accelerator_type:"
"""Prefix of the resource that says which GPUs a node has."""

SECONDS_BETWEEN_LOOKS = 1.0
"""How often the driver checks for nodes that have joined or left."""

UNBOUNDED = 4096
"""Stands for the number of nodes of a type that a cluster file does not limit."""

NEEDS_STORAGE = (
    "resources.storage_path: this cluster has several nodes, and a trial may move to another one:"
    " give --storage-path s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or a folder that all nodes share"
)


@dataclass(frozen=True)
class Node:
    """Nodes that have the same."""

    cpus: float
    gpus: float
    count: int = 1
    accelerators: tuple[str, ...] = ()
    """Types of GPU, by Ray's names."""


def trial_resources(experiment: Experiment) -> Resources:
    """Returns the experiment's resources for this cluster, with the number of GPUs settled.

    Raises UserError if not a single trial can ever fit.
    """
    wanted, nodes = experiment.resources, _nodes()
    if wanted.storage_path is None and _may_have_several_nodes():
        raise UserError(NEEDS_STORAGE)
    resources = wanted.model_copy(update={"gpus_per_worker": _gpus_of_worker(experiment)})
    if trainings_at_once(resources, nodes) == 0:
        raise UserError(_does_not_fit(resources, nodes))
    return resources


def final_resources(experiment: Experiment) -> Resources:
    """Returns the resources of the winner's training: `final_workers`, or a worker for each GPU."""
    workers, gpus = experiment.resources.final_workers, _gpus_of_worker(experiment)
    if workers is None:
        found = int(ray.cluster_resources().get("GPU", 0)) if gpus else 0
        workers = min(max(1, found), experiment.recipe.batch_size)
    settings = {
        "workers_per_trial": workers,
        "max_concurrent": 1,
        # Workers that train together need whole ones.
        "gpus_per_worker": math.ceil(gpus) if workers > 1 else gpus,
    }
    resources = experiment.resources.model_copy(update=settings)
    return trial_resources(experiment.model_copy(update={"resources": resources}))


def _gpus_of_worker(experiment: Experiment) -> float:
    """Returns 1 if the cluster has any GPU, unless the experiment says otherwise.

    Raises UserError if the experiment's device is a GPU, and there is none.
    """
    if experiment.device in ("cpu", "mps"):
        return 0.0
    if (wanted := experiment.resources.gpus_per_worker) is not None:
        return wanted
    if any(node.gpus for node in _nodes()):
        return 1.0
    if experiment.device == "cuda":
        raise UserError("device: cuda: Ray sees no GPU in this cluster; allowed: cpu, or auto")
    return 0.0


def gpu_type_to_ask_for(resources: Resources) -> dict[str, float]:
    """Returns what Ray is asked for besides a GPU to get one of the type that is wanted."""
    wanted = resources.accelerator_type
    return {f"{GPU_TYPE}{wanted}": 0.001} if wanted else {}


def trainings_at_once(resources: Resources, nodes: Sequence[Node]) -> int:
    """Returns how many trainings fit on the nodes, up to `max_concurrent`."""
    slots = workers_at_once(resources, nodes) // resources.workers_per_trial
    most = resources.max_concurrent
    return slots if most is None else min(slots, most)


def workers_at_once(resources: Resources, nodes: Sequence[Node]) -> int:
    """Returns how many workers fit on the nodes; a worker never spans two of them."""
    cpus, gpus = resources.cpus_per_worker, resources.gpus_per_worker
    wanted = resources.accelerator_type
    return sum(
        node.count * min(int(node.cpus // cpus), int(node.gpus / gpus) if gpus else 10**9)
        for node in nodes
        if wanted is None or wanted in node.accelerators
    )


class Slots:
    """Says how many trials run at once: more as nodes join, fewer as they leave.

    On an autoscaler's head node it is as many as its cluster file allows, for the autoscaler
    starts nodes only for trials that wait for a place.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._known, self._looked = 0, -math.inf

    def __call__(self) -> int:
        if time.monotonic() > self._looked + SECONDS_BETWEEN_LOOKS:
            self._known = trainings_at_once(self._resources, _nodes())
            self._looked = time.monotonic()
        return self._known


def nodes_in_use() -> list[dict[str, Any]]:
    """Counts the nodes that are up, by what each has."""
    found = Counter(map(_node, resources_of_nodes()))
    return [
        # A list, as JSON has it when the result is read again.
        asdict(node) | {"count": count, "accelerators": [*node.accelerators]}
        for node, count in found.items()
    ]


def resources_of_nodes() -> list[dict[str, float]]:
    """Returns what each node that is up has, as Ray names it."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _may_have_several_nodes() -> bool:
    """Returns whether a trial may move to another node than the one it began on."""
    config = _autoscaler()
    if config is not None:
        return bool(config.get("max_workers", UNBOUNDED))
    return len(resources_of_nodes()) > 1


def _autoscaler() -> dict[str, Any] | None:
    """Returns the cluster file, on the head node of a cluster that `ray up` has brought up."""
    if not AUTOSCALER_CONFIG.exists():
        return None
    config: dict[str, Any] = yaml.safe_load(AUTOSCALER_CONFIG.read_text(encoding="utf-8"))
    return config


def _nodes() -> list[Node]:
    """Returns the nodes that are up; on an autoscaler's head node, those that it may start."""
    config = _autoscaler()
    # The hosts of a `local` cluster are there or not: the file knows their names alone.
    if config is not None and config["provider"]["type"] != "local":
        return nodes_of_autoscaler(config)
    return [_node(resources) for resources in resources_of_nodes()]


def nodes_of_autoscaler(config: Mapping[str, Any]) -> list[Node]:
    """Returns the head, and as many of every other type of node as the cluster file allows."""
    head, most = config["head_node_type"], config.get("max_workers", UNBOUNDED)
    return [
        _node(kind.get("resources", {}), count=kind.get("max_workers", most) + (name == head))
        for name, kind in config["available_node_types"].items()
    ]


def _node(resources: Mapping[str, float], *, count: int = 1) -> Node:
    """Reads the resources of a node, as Ray names them."""
    return Node(
        cpus=resources.get("CPU", 0),
        gpus=resources.get("GPU", 0),
        count=count,
        accelerators=tuple(
            sorted(name.removeprefix(GPU_TYPE) for name in resources if name.startswith(GPU_TYPE))
        ),
    )


def _does_not_fit(wanted: Resources, nodes: Sequence[Node]) -> str:
    workers, cpus = wanted.workers_per_trial, wanted.cpus_per_worker
    gpus = wanted.gpus_per_worker or 0
    each = f"{cpus} CPU{'s' if cpus > 1 else ''}"
    each += f" and {gpus:g} GPU{'s' if gpus > 1 else ''}" if gpus else ""
    each += f" of the kind {wanted.accelerator_type}" if wanted.accelerator_type else ""
    total = ray.cluster_resources()
    return (
        f"resources: {workers} worker{'s' if workers > 1 else ''} of {each} wanted"
        f" (workers_per_trial or final_workers, cpus_per_worker, gpus_per_worker,"
        f" accelerator_type):"
        f" the cluster has room for {workers_at_once(wanted, nodes)};"
        f" now it has {total.get('CPU', 0):g} CPUs and {total.get('GPU', 0):g} GPUs"
    )
