"""Brings the pack from the driver's node to every other node of a cluster, through Ray.

Photographs are on the driver's node alone, and so is the pack that they were decoded into. A
thread watches for nodes that join and sends them the pack before it is needed; a trial that comes
earlier waits for it, or fetches it itself. A node whose disk has no room gets no trials: actors
that do nothing take all of its CPUs and GPUs.
"""

import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from inat_ray.config.experiment import DataConfig
from inat_ray.data.dataset import DataSet
from inat_ray.data.pack import NoRoomError, Supply, reopen_pack
from inat_ray.run.folder import RunFolder

PART = 32 * 2**20
"""How many bytes are sent at a time."""

SECONDS_BETWEEN_LOOKS = 2.0
"""How often the thread checks for nodes that have joined."""

SECONDS_BETWEEN_REPORTS = 10.0
"""How often the progress of a node is reported."""


class PackServer:
    """An actor on the driver's node that reads the pack's file for other nodes.

    State: how much each node has received.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._received: dict[str, int] = {}

    def part(self, start: int, size: int, node: str) -> tuple[bytes, bytes]:
        """Returns (content, SHA-256) of `size` bytes from `start` on, for a node of that name."""
        with self._path.open("rb") as file:
            file.seek(start)
            content = file.read(size)
        self._received[node] = start + len(content)
        return content, hashlib.sha256(content).digest()

    def received(self) -> dict[str, int]:
        """Returns how many bytes each node has asked for so far."""
        return self._received


@dataclass(frozen=True)
class FromServer:
    """Fetches the pack to a node that lacks it: see `data.pack.Supply`."""

    server: Any
    size: int
    """Bytes."""

    def __call__(self, path: Path) -> None:
        """Writes the pack to `path`. Raises NoRoomError if the disk is too full."""
        free = shutil.disk_usage(path.parent).free
        if free < self.size:
            raise NoRoomError(
                f"data.cache: {path.parent}: has {free / 1e6:.0f} MB free,"
                f" the pack needs {self.size / 1e6:.0f}"
            )
        node = this_node()
        coming = self.server.part.remote(0, PART, node)
        with path.open("wb") as file:
            while file.tell() < self.size:
                content, digest = ray.get(coming)
                coming = self.server.part.remote(file.tell() + PART, PART, node)
                assert hashlib.sha256(content).digest() == digest
                file.write(content)
            assert file.tell() == self.size


@contextmanager
def provisioned(data: DataSet, *, run: RunFolder, tell: Callable[[str], None]) -> Iterator[DataSet]:
    """Yields the data in a form that every node can unpickle; needs Ray to be up.

    The nodes that are up have the pack when the context begins; others get it as they join. A run
    without a storage stays on one node, which has it.
    """
    if run.storage is None:
        yield data
        return
    here = ray.get_runtime_context().get_node_id()
    size = data.pack.path.stat().st_size
    server: Any = ray.remote(PackServer).options(num_cpus=0, scheduling_strategy=_on(here))
    actor = server.remote(data.pack.path)
    shared = replace(data, supply=FromServer(actor, size))
    care = NodeCare(shared, actor, size=size, here=here, tell=tell)
    try:
        care.wait_for_those_there()
        care.start()
        yield shared
    finally:
        care.end()
        ray.kill(actor)


class NodeCare:
    """Brings the pack to every node, and keeps trials away from those without room for it.

    State: `_done`, nodes that have it or never will; `_coming`, the tasks on the others; `_blocks`,
    actors that take everything that a node without room could give to trials.
    """

    def __init__(
        self, data: DataSet, server: Any, *, size: int, here: str, tell: Callable[[str], None]
    ) -> None:
        self._data, self._server, self._size, self._tell = data, server, size, tell
        self._done = {here}
        self._coming: dict[str, Any] = {}
        self._blocks: list[Any] = []
        self._reported = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="node-care")

    def wait_for_those_there(self) -> None:
        self._look()
        while self._coming:
            time.sleep(0.1)
            self._look()

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
        for block in self._blocks:
            ray.kill(block)

    def _watch(self) -> None:
        while not self._over.wait(SECONDS_BETWEEN_LOOKS):
            self._look()

    def _look(self) -> None:
        nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        for node_id in nodes.keys() - self._done - self._coming.keys():
            task: Any = ray.remote(_receive).options(
                num_cpus=0, scheduling_strategy=_on(node_id), max_retries=0
            )
            data = self._data
            self._coming[node_id] = task.remote(data.config, data.pack.path.name, data.supply)
        for node_id, task in list(self._coming.items()):
            if ray.wait([task], timeout=0)[0]:
                del self._coming[node_id]
                self._conclude(task, node_id, nodes.get(node_id))
        self._report()

    def _conclude(self, task: Any, node_id: str, node: dict[str, Any] | None) -> None:
        """Settles a node; if it died and comes back, it has another id and is new."""
        try:
            self._tell(f"node {ray.get(task)} has the pack ({self._size / 1e6:.0f} MB)")
        except RayTaskError as error:
            if node is not None:
                self._block(node, reason=str(error.cause))
        except RayError as error:
            self._tell(f"a node was lost before it had the pack: {type(error).__name__}")
        self._done.add(node_id)

    def _block(self, node: dict[str, Any], *, reason: str) -> None:
        self._tell(f"node {node['NodeManagerAddress']} takes no trials: {reason}")
        own: Any = ray.remote(Blocker).options(
            num_cpus=node["Resources"].get("CPU", 0),
            num_gpus=node["Resources"].get("GPU", 0),
            scheduling_strategy=_on(node["NodeID"]),
        )
        self._blocks.append(own.remote())

    def _report(self) -> None:
        if not self._coming or time.monotonic() - self._reported < SECONDS_BETWEEN_REPORTS:
            return
        self._reported = time.monotonic()
        for node, received in ray.get(self._server.received.remote()).items():
            if received < self._size:
                self._tell(f"node {node} has {received / self._size:.0%} of the pack")


class Blocker:
    """An actor that reserves resources and does nothing."""


def this_node() -> str:
    """Returns the address by which people know this node."""
    address: str = ray.util.get_node_ip_address()
    return address


def _receive(config: DataConfig, name: str, supply: Supply) -> str:
    """Runs on the node that is to have the pack; returns which one it is."""
    reopen_pack(config, name, supply)
    return this_node()


def _on(node_id: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node_id=node_id, soft=False)
