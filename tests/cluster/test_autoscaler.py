"""What a sweep asks of Ray's autoscaler: the real one, whose nodes are processes here."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray.cluster_utils import AutoscalingCluster

from inat_ray.search.history import History
from inat_ray.search.run_log import read_history
from tests.cluster.conftest import make_photographs
from tests.cluster.sweeps import SETTINGS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

MOST = 2
"""Workers that the cluster file allows."""


@pytest.fixture(params=[False, True], ids=["autoscaler_v1", "autoscaler_v2"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AutoscalingCluster]:
    """A head without CPUs, as in cluster.yaml, and workers of one CPU that go when idle."""
    types: dict[str, Any] = {
        "cpu": {
            "resources": {"CPU": 1, "object_store_memory": 10**8},
            "node_config": {},
            "min_workers": 0,
            "max_workers": MOST,
        }
    }
    made = AutoscalingCluster(
        head_resources={"CPU": 0},
        worker_node_types=types,
        max_workers=MOST,
        idle_timeout_minutes=0.1,
        autoscaler_v2=request.param,
    )
    file = {
        "provider": {"type": "aws"},
        "max_workers": MOST,
        "head_node_type": "ray.head.default",
        "available_node_types": types,
    }
    (tmp_path / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(file))
    made.start()
    yield made
    ray.shutdown()
    made.shutdown()


def alive() -> int:
    """Workers, without the head."""
    return sum(node["Alive"] for node in ray.nodes()) - 1


def test_waiting_trials_bring_all_workers_that_are_allowed_and_no_more_and_idle_ones_go(
    cluster: AutoscalingCluster, tmp_path: Path
) -> None:
    make_photographs(tmp_path / "photos")
    ray.init("auto", log_to_driver=False)
    most, over = [alive()], threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            most.append(alive())

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert most == [0]
    settings = [word for line in (*SETTINGS, "search.trials=6") for word in ("--set", line)]
    where = ["--data", "photos", "--out", "run", "--storage-path", "share", "--address", "auto"]
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
    history = read_history(tmp_path / "run" / "log")
    end = time.monotonic() + 60
    while alive() > 0 and time.monotonic() < end:
        time.sleep(0.5)
    over.set()
    watcher.join()
    assert max(most) == MOST
    assert at_once(history) == MOST
    assert alive() == 0


def at_once(history: History) -> int:
    """The most trials that trained at the same time."""
    spans = [(t.epochs[0].time - t.epochs[0].seconds, t.epochs[-1].time) for t in history.searched]
    return max(sum(start <= moment < end for start, end in spans) for moment, _ in spans)
