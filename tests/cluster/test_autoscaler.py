"""What a sweep asks of Ray's autoscaler: the real one, whose nodes are processes here."""

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID
from ray.cluster_utils import AutoscalingCluster

from inat_ray.log.history import History
from inat_ray.log.run_log import read_history
from tests.cluster.conftest import make_photographs, wait_until
from tests.cluster.sweeps import SETTINGS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

HEAD = "ray.head.default"

MOST = 2
"""Workers that the cluster file allows."""


NOTHING_TO_DO = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
    "cluster_synced_files",
)


class FakeNodes(AutoscalingCluster):
    """Ray's own, but for a file that its package lacks, and that its second version insists on."""

    def _generate_config(
        self,
        head_resources: dict[str, Any],
        worker_node_types: dict[str, Any],
        autoscaler_v2: bool = False,
        **settings: Any,
    ) -> dict[str, Any]:
        provider = {
            "type": "fake_multinode",
            "head_node_id": FAKE_HEAD_NODE_ID,
            "disable_node_updaters": True,  # there is nobody to reach by ssh
            "disable_launch_config_check": True,
        }
        head = {"resources": dict(head_resources), "node_config": {}, "max_workers": 0}
        return {
            "cluster_name": "fake",
            "provider": provider,
            "available_node_types": {**worker_node_types, HEAD: head},
            "head_node_type": HEAD,
            "upscaling_speed": 1.0,
            "auth": {},
            "docker": {},
            "file_mounts": {},
            **{name: [] for name in NOTHING_TO_DO},
            **settings,
        }


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AutoscalingCluster]:
    """A head without CPUs, as in cluster.yaml, and workers of one CPU."""
    (tmp_path / "token").write_text(secrets.token_hex(32))
    # `ray` is called by its name, and the environment of these tests need not be activated.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    types: dict[str, Any] = {
        "cpu": {
            "resources": {"CPU": 1, "object_store_memory": 10**8},
            "node_config": {},
            "min_workers": 0,
            "max_workers": MOST,
        }
    }
    made = FakeNodes(
        head_resources={"CPU": 0},
        worker_node_types=types,
        max_workers=MOST,
        idle_timeout_minutes=0.1,
    )
    file = {
        "provider": {"type": "aws"},
        "max_workers": MOST,
        "head_node_type": HEAD,
        "available_node_types": {**types, HEAD: {"resources": {"CPU": 0}, "max_workers": 0}},
    }
    (tmp_path / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(file))
    made.start()
    yield made
    made.shutdown()


WATCH = """
import ray, time
ray.init("auto", log_to_driver=False, logging_level="ERROR")
while True:
    print(sum(node["Alive"] for node in ray.nodes()) - 1, flush=True)
    time.sleep(0.2)
"""
"""Prints how many workers there are. In a process of its own, for Ray reads its token only once."""


@contextmanager
def counted() -> Iterator[list[int]]:
    """The numbers of workers, the newest last, for as long as the context lasts."""
    counts: list[int] = []
    process = subprocess.Popen([sys.executable, "-c", WATCH], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = process.stdout
    reader = threading.Thread(target=lambda: counts.extend(map(int, iter(lines.readline, ""))))
    reader.start()
    try:
        yield counts
    finally:
        process.kill()
        process.wait()
        reader.join()
        lines.close()


@pytest.mark.parametrize(("trials", "workers"), [(6, MOST), (1, 1)])
def test_trials_that_wait_bring_as_many_workers_as_there_is_work_for(
    cluster: AutoscalingCluster, tmp_path: Path, trials: int, workers: int
) -> None:
    make_photographs(tmp_path / "photos")
    lines = (*SETTINGS, f"search.trials={trials}")
    settings = [word for line in lines for word in ("--set", line)]
    where = ["--data", "photos", "--out", "run", "--storage-path", "share", "--address", "auto"]
    with counted() as counts:
        wait_until(lambda: set(counts) == {0})
        done = subprocess.run(
            [sys.executable, "-m", "inat_ray.sweep", *where, *settings],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert max(counts) == workers
    assert at_once(read_history(tmp_path / "run" / "log")) == workers
    status = ["ray", "status"]
    wait_until(lambda: "(no resource demands)" in subprocess.check_output(status, text=True))


def at_once(history: History) -> int:
    """The most trials that trained at the same time."""
    spans = [(t.epochs[0].time - t.epochs[0].seconds, t.epochs[-1].time) for t in history.searched]
    return max(sum(start <= moment < end for start, end in spans) for moment, _ in spans)
