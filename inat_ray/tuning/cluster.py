"""A session of Ray, and what its cluster can give to trials."""

import logging
import math
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import yaml
from ray._private import services
from ray.exceptions import AuthenticationError

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.resources import Resources
from inat_ray.tuning.own_ray import own_ray, signals_kept

QUIET = {
    # Ray's own per-trial files and tables; the run log, TensorBoard and our table replace them.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Ctrl-C is ours: Tune's handler would only save its own state and go on for a while.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Relative paths mean to a trial what they mean to the person who wrote them.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Every epoch is judged before the next begins.
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    # Tune's older output keeps quiet at verbose=0; the newer prints a box even then.
    "RAY_AIR_NEW_OUTPUT": "0",
    # A warning of Ray's that a future release changes this by itself.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


AUTOSCALER_CONFIG = Path("~/ray_bootstrap_config.yaml").expanduser()
"""The copy of the cluster file that `ray up` leaves on the head node. It is read because Ray does
not say what its autoscaler may add, and a cluster without work has no worker nodes yet."""

KIND = "accelerator_type:"
"""Prefix of the resource that tells the kind of a node's GPUs."""

SECONDS_BETWEEN_LOOKS = 1.0
"""How often the driver checks for nodes that have joined or left."""

SECONDS_TO_ANSWER = 10.0
"""How long a cluster at a given address may take to accept a connection."""

UNBOUNDED = 4096
"""Stands for the number of nodes of a type that a cluster file does not limit."""


NEEDS_STORAGE = (
    "resources.storage_path: this cluster has several nodes, and a trial may move to another one:"
    " give --storage-path s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or a folder that all nodes share"
)


@dataclass(frozen=True)
class Node:
    """Nodes of one kind."""

    cpus: float
    gpus: float
    count: int = 1
    accelerator_types: frozenset[str] = frozenset()


@contextmanager
def ray_session(*, verbose: bool, address: str | None = None) -> Iterator[None]:
    """Keeps Ray up while the context lasts: the cluster at `address` or RAY_ADDRESS, else one of
    our own. A Ray that this process has joined already is used as it is.

    Raises UserError if no cluster answers, RunFailedError if our own fails.
    """
    os.environ.update(QUIET)
    given = f"--address {address}" if address else f"RAY_ADDRESS {os.environ.get('RAY_ADDRESS')}"
    address = address or os.environ.get("RAY_ADDRESS")
    if ray.is_initialized():
        yield
        return
    # Our log and table tell of a trial that fails; Tune would print its traceback twice.
    level = logging.INFO if verbose else logging.CRITICAL
    for name in ("ray", "ray.tune", "ray.data", "ray.train"):
        logging.getLogger(name).setLevel(level)
    settings = {"log_to_driver": verbose, "logging_level": level}
    with (
        joined_ray(address, given=given, **settings)
        if address and address != "local"
        else own_ray(**settings)
    ):
        yield


@contextmanager
def joined_ray(address: str, *, given: str, **settings: Any) -> Iterator[None]:
    """Joins the cluster at an address while the context lasts."""
    _check_reachable(address, given=given)
    try:
        with signals_kept():
            ray.init(address=address, **settings)
    except (ConnectionError, AuthenticationError) as error:
        why = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{given}: cannot connect to a Ray cluster there (refused, or wrong token): {why}"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str, *, given: str) -> None:
    """Raises UserError at once if nothing listens; Ray itself would try for minutes."""
    if address == "auto":
        address = _found_by_ray(given)
    host, _, port = address.rpartition(":")
    if "://" in address or not port.isdigit():
        raise UserError(
            f"{given}: is not the address of a cluster; auto or HOST:PORT is allowed, with the port"
            " that `ray start --port` was given (6379 if none)"
        )
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise UserError(f"{given}: nothing answers there: {error}") from None


def _found_by_ray(given: str) -> str:
    """Returns what `auto` means on this machine; that cluster may be gone."""
    try:
        return str(services.get_ray_address_from_environment("auto", None))
    except ConnectionError:
        raise UserError(f"{given}: there is no Ray cluster on this machine") from None


def trial_resources(experiment: Experiment) -> Resources:
    """The experiment's resources for this cluster: how many GPUs a worker gets is settled.

    Raises UserError if not a single trial can ever fit.
    """
    wanted, nodes = experiment.resources, _nodes()
    if wanted.storage_path is None and _may_have_several_nodes():
        raise UserError(NEEDS_STORAGE)
    resources = wanted.model_copy(update={"gpus_per_worker": gpus_of_worker(experiment)})
    if trainings_at_once(resources, nodes) == 0:
        raise UserError(_does_not_fit(resources, nodes))
    return resources


def final_resources(experiment: Experiment) -> Resources:
    """The resources of the winner's training: `final_workers`, or one worker for each GPU."""
    workers = experiment.resources.final_workers
    if workers is None:
        gpus = int(ray.cluster_resources().get("GPU", 0)) if gpus_of_worker(experiment) else 0
        workers = min(max(1, gpus), experiment.recipe.batch_size)
    settings: dict[str, Any] = {"workers_per_trial": workers, "max_concurrent": 1}
    if workers > 1 and gpus_of_worker(experiment):
        settings["gpus_per_worker"] = math.ceil(gpus_of_worker(experiment))
    resources = experiment.resources.model_copy(update=settings)
    return trial_resources(experiment.model_copy(update={"resources": resources}))


def trainings_at_once(resources: Resources, nodes: Sequence[Node]) -> int:
    """How many trainings fit on the nodes, up to `max_concurrent`."""
    slots = workers_at_once(resources, nodes) // resources.workers_per_trial
    most = resources.max_concurrent
    return slots if most is None else min(slots, most)


def workers_at_once(resources: Resources, nodes: Sequence[Node]) -> int:
    """How many workers fit on the nodes; a worker never spans two of them."""
    cpus, gpus = resources.cpus_per_worker, resources.gpus_per_worker
    kind = resources.accelerator_type
    return sum(
        node.count * min(int(node.cpus // cpus), int(node.gpus / gpus) if gpus else 10**9)
        for node in nodes
        if kind is None or kind in node.accelerator_types
    )


def kind_of_gpu(resources: Resources) -> dict[str, float]:
    """What Ray is asked for besides a GPU to get one of a certain kind."""
    kind = resources.accelerator_type
    return {f"{KIND}{kind}": 0.001} if kind else {}


def gpus_of_worker(experiment: Experiment) -> float:
    """Returns 1 if the cluster has any GPU, unless the experiment says otherwise.

    Raises UserError if the experiment's device is a GPU, and there is none.
    """
    if experiment.device == "cpu":
        return 0.0
    wanted = experiment.resources.gpus_per_worker
    if wanted is not None:
        return wanted
    if any(node.gpus for node in _nodes()):
        return 1.0
    if experiment.device == "cuda":
        raise UserError("device: cuda: Ray sees no GPU in this cluster; allowed: cpu, or auto")
    return 0.0


class Slots:
    """How many trials run at once: more as nodes join, fewer as they leave.

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


def slots_now(resources: Resources) -> int:
    """How many trials run at once on the nodes that are up, or may be started."""
    return Slots(resources)()


def nodes_in_use() -> list[dict[str, Any]]:
    """Counts the nodes that are up, by what each has."""
    kinds = Counter(_node(node["Resources"]) for node in ray.nodes() if node["Alive"])
    return [
        {
            "count": count,
            "cpus": node.cpus,
            "gpus": node.gpus,
            "accelerators": sorted(node.accelerator_types),
        }
        for node, count in kinds.items()
    ]


def _may_have_several_nodes() -> bool:
    """Whether a trial may move to another node than the one it began on."""
    config = _autoscaler()
    if config is not None:
        return bool(config.get("max_workers", UNBOUNDED))
    return len([node for node in ray.nodes() if node["Alive"]]) > 1


def _autoscaler() -> dict[str, Any] | None:
    """The cluster file, on the head node of a cluster that `ray up` has brought up."""
    if not AUTOSCALER_CONFIG.exists():
        return None
    config: dict[str, Any] = yaml.safe_load(AUTOSCALER_CONFIG.read_text(encoding="utf-8"))
    return config


def _nodes() -> list[Node]:
    """The nodes that are up; on an autoscaler's head node those that it may start."""
    config = _autoscaler()
    # The hosts of a `local` cluster are there or not: the file knows their names alone.
    if config is not None and config["provider"]["type"] != "local":
        return nodes_of_autoscaler(config)
    return [_node(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def nodes_of_autoscaler(config: Mapping[str, Any]) -> list[Node]:
    """The head, and of every other type of node as many as the cluster file allows."""
    types = config["available_node_types"]
    most = config.get("max_workers", UNBOUNDED)
    return [
        _node(
            kind.get("resources", {}),
            count=kind.get("max_workers", most) + (name == config["head_node_type"]),
        )
        for name, kind in types.items()
    ]


def _node(resources: Mapping[str, float], *, count: int = 1) -> Node:
    """Reads the resources of a node, as Ray names them."""
    return Node(
        cpus=resources.get("CPU", 0),
        gpus=resources.get("GPU", 0),
        count=count,
        accelerator_types=frozenset(
            name.removeprefix(KIND) for name in resources if name.startswith(KIND)
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
