"""Whatever fails, the sweep ends with the numbers of one that nothing happened to.

Each test runs the same sweep of 12 trials on three hosts, lets something fail in the middle of it,
and compares every epoch of every trial, and the winner's, with the undisturbed sweep's. What was
measured is written to runs/cluster/faults.json.
"""

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.hosts import CHECKOUT, Hosts
from tests.cluster.storage import KEYS, BucketServer
from tests.cluster.sweeps import EPOCHS, TRIALS, Sweep

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

Curves = dict[str, list[tuple[float, float]]]

MIDDLE = TRIALS * EPOCHS // 3
"""Epochs after which something happens."""

TRIAL = re.compile(r"ray::\S+\.train")
"""The command line of a trial's process, whose class Tune has wrapped, while it trains."""

NODE_IS_MISSED = 65
"""Seconds after which Ray takes a host that does not answer for dead."""

FIGURES = CHECKOUT / "runs" / "cluster" / "faults.json"


@pytest.fixture(scope="module")
def figures() -> Callable[..., None]:
    """Notes what a fault cost."""
    rows: list[dict[str, Any]] = []

    def note(
        fault: str, sweep: Sweep, since: float, affected: set[str], recovered: float | None = None
    ) -> None:
        back = [
            min(e.time for e in sweep.epochs() if e.trial_id == name and e.time > since)
            for name in affected
        ]
        if recovered is not None:
            back.append(recovered)
        rows.append(
            {
                "fault": fault,
                "trials hit": len(affected),
                "epochs repeated": sum(sweep.repeated().values()),
                "seconds to recover": round(max(back) - since, 1) if back else None,
            }
        )
        FIGURES.parent.mkdir(parents=True, exist_ok=True)
        FIGURES.write_text(json.dumps(rows, indent=2) + "\n")

    return note


@pytest.fixture(scope="module")
def undisturbed(hosts: Hosts, cluster: Path) -> Curves:
    """The curves of a sweep that was started as a job from the laptop, which then went away."""
    sweep = Sweep(hosts, "undisturbed")
    sweep.submit(cluster)
    sweep.wait_for_end()
    curves = sweep.curves()
    assert len(curves) == TRIALS + 1
    assert {len(curve) for curve in curves.values()} == {EPOCHS}
    assert len(sweep.nodes_with_the_pack()) == 2  # and the head, which made it
    return curves


def check(sweep: Sweep, undisturbed: Curves) -> None:
    """Nothing is lost, nothing was done twice, and all is free."""
    result = sweep.wait_for_end()
    assert sweep.curves() == undisturbed
    assert sweep.doubled() == []
    assert set(sweep.repeated().values()) <= {1}
    assert result["test_looks"] == 1
    assert sweep.free_again()


def trials_on(hosts: Hosts, host: str) -> list[int]:
    """Processes that train at this moment; between two epochs none does."""
    return [pid for pid, line in hosts.processes(host).items() if TRIAL.match(line)]


def test_a_trials_process_is_killed(
    hosts: Hosts, cluster: Path, undisturbed: Curves, figures: Callable[..., None]
) -> None:
    sweep = Sweep.start(hosts, "process")
    sweep.wait_for_epochs(MIDDLE)
    training: list[int] = []
    sweep.wait(lambda: training.extend(trials_on(hosts, "h2")) or training, what="a trial on h2")
    since = time.time()
    os.kill(training[0], signal.SIGKILL)
    check(sweep, undisturbed)
    hit = {ending.trial_id for ending in sweep.lost()}
    assert len(hit) == 1
    figures("a trial's process is killed", sweep, since, hit)


def test_a_host_is_killed(
    hosts: Hosts, cluster: Path, undisturbed: Curves, figures: Callable[..., None]
) -> None:
    sweep = Sweep.start(hosts, "host")
    sweep.wait_for_epochs(MIDDLE)
    since = time.time()
    hosts.kill("h3")
    check(sweep, undisturbed)
    hit = {ending.trial_id for ending in sweep.lost()}
    assert len(hit) <= 1
    figures("a host loses its power", sweep, since, hit)


def test_a_host_is_added(
    hosts: Hosts, cluster: Path, undisturbed: Curves, figures: Callable[..., None]
) -> None:
    """The one that was killed: it comes back in the middle of the next sweep."""
    hosts.wait_for_nodes({"h1", "h2"})
    sweep = Sweep.start(hosts, "added")
    sweep.wait_for_epochs(4)
    since = time.time()
    hosts.start("h3")
    sweep.wait(lambda: hosts.address("h3") in sweep.nodes_with_the_pack(), what="h3 as a node")
    sweep.wait(lambda: len(sweep.running()) == 3, seconds=60, what="a third trial")
    joined = time.time()
    check(sweep, undisturbed)
    assert sweep.repeated() == {}
    figures("a host is added", sweep, since, set(), recovered=joined)


def test_a_host_is_cut_off_and_comes_back(
    hosts: Hosts, cluster: Path, undisturbed: Curves, figures: Callable[..., None]
) -> None:
    hosts.wait_for_nodes(hosts.hosts)
    sweep = Sweep.start(hosts, "cut_off")
    sweep.wait_for_epochs(MIDDLE)
    since = time.time()
    hosts.cut_off("h3")
    time.sleep(NODE_IS_MISSED + 10)
    hosts.reconnect("h3")
    check(sweep, undisturbed)
    figures("a host is cut off for 75 s", sweep, since, {e.trial_id for e in sweep.lost()})
    hosts.wait_for_nodes(hosts.hosts)


def test_the_driver_is_killed_and_resumed(
    hosts: Hosts, cluster: Path, undisturbed: Curves, figures: Callable[..., None]
) -> None:
    sweep = Sweep.start(hosts, "driver")
    sweep.wait_for_epochs(MIDDLE)
    since = time.time()
    sweep.kill_driver()
    sweep.resume()
    check(sweep, undisturbed)
    figures("the driver is killed, and resumed", sweep, since, sweep.running(since))


def test_the_storage_is_away_for_a_while(
    hosts: Hosts,
    cluster: Path,
    bucket_server: BucketServer,
    undisturbed: Curves,
    figures: Callable[..., None],
) -> None:
    sweep = Sweep.start(hosts, "storage")
    sweep.wait_for_epochs(MIDDLE)
    since = time.time()
    bucket_server.stop()
    time.sleep(25)
    bucket_server.start()
    check(sweep, undisturbed)
    assert sweep.repeated() == {}
    assert "does not answer" in sweep.said()
    figures("the storage is away for 25 s", sweep, since, sweep.running(since))


def test_a_cache_disk_is_full(
    hosts: Hosts, cluster: Path, undisturbed: Curves, figures: Callable[..., None]
) -> None:
    """A new disk, as it were, on which there is no room for the pack."""
    hosts.limit_disk("h2", "~/.cache/inat_ray", megabytes=1)
    since = time.time()
    sweep = Sweep.start(hosts, "full")
    check(sweep, undisturbed)
    hosts.enter("h2", ["umount", str(Path.home() / ".cache" / "inat_ray")])
    assert f"node {hosts.address('h2')} takes no trials: data.cache" in sweep.said()
    figures("a node's cache disk is full", sweep, since, set())


def test_the_head_is_lost_with_its_disk(
    hosts: Hosts,
    cluster: Path,
    bucket_server: BucketServer,
    photographs: Path,
    undisturbed: Curves,
    figures: Callable[..., None],
) -> None:
    """A new machine takes its place, and goes on with what is in the bucket."""
    sweep = Sweep.start(hosts, "head")
    sweep.wait_for_epochs(MIDDLE)
    since = time.time()
    hosts.wipe("h1")
    hosts.start("h1")
    hosts.give("~/.aws/credentials", KEYS, ["h1"])
    # The laptop remembers a head of that address, and would leave out the setup of the new one.
    hosts.down(cluster, check=False)
    hosts.up(cluster)
    hosts.send(cluster, photographs)
    sweep.resume(bucket_server.run("head").address)
    check(sweep, undisturbed)
    figures("the head is lost with its disk", sweep, since, sweep.running(since))
