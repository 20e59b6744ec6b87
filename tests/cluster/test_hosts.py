"""The hosts that the other tests of this folder rely on."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster.conftest import wait_until
from tests.cluster.hosts import BRIDGE, CHECKOUT, CLUSTER_YAML, LOCAL_YAML, PREFIX, Hosts

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

# On each node but those without a CPU: who am I? A second each, so that no node runs two.
EVERYWHERE = """
import ray, socket, time
ray.init(address="auto", log_to_driver=False)

@ray.remote(num_cpus=1)
def name():
    time.sleep(3)
    return socket.gethostname()

cpus = int(ray.cluster_resources()["CPU"])
print("NAMES", *sorted(ray.get([name.remote() for _ in range(cpus)])))
"""


def names_of_workers(hosts: Hosts) -> list[str]:
    line = next(
        line
        for line in hosts.python("h1", EVERYWHERE).stdout.splitlines()
        if line.startswith("NAMES")
    )
    return line.split()[1:]


def listed(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_nothing_is_left_of_hosts_not_even_of_those_of_a_killed_process(
    able_to_make_hosts: None,
) -> None:
    code = (
        "import time\nfrom tests.cluster.hosts import Hosts\n"
        "with Hosts(1): print('on', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=CHECKOUT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"on\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert f"{PREFIX}h1" in listed("ip", "netns", "list")

    with Hosts(1) as hosts:
        # A child of its sshd may still be ending the connection that asked whether it answers.
        wait_until(lambda: len(hosts.processes("h1")) == 1)
    assert PREFIX not in listed("ip", "netns", "list")
    assert BRIDGE not in listed("ip", "link", "show")
    assert str(hosts.root) not in listed("ps", "-eo", "args") + Path("/proc/mounts").read_text()
    assert not hosts.root.exists()


def test_hosts_reach_each_other_by_ssh(hosts: Hosts) -> None:
    assert hosts.run("h2", "hostname").stdout.strip() == "h2"
    assert hosts.run("h3", "hostname", source="h2").stdout.strip() == "h3"


def test_a_host_sees_neither_processes_nor_files_of_another(hosts: Hosts) -> None:
    for folder in ("~", "/tmp", "/mnt", "/dev/shm"):
        hosts.run("h1", f"touch {folder}/mine")
        assert hosts.run("h2", f"test -e {folder}/mine", check=False).returncode == 1
    hosts.run("h1", "sleep 1000 > /dev/null 2>&1 & disown")
    assert "sleep 1000" in hosts.processes("h1").values()
    assert "sleep 1000" not in hosts.run("h2", "ps -e -o args").stdout


def test_hosts_share_one_folder(hosts: Hosts) -> None:
    hosts.run("h1", "echo hello > /mnt/shared/word")
    assert hosts.run("h2", "cat /mnt/shared/word").stdout == "hello\n"
    assert (hosts.shared / "word").read_text() == "hello\n"


def test_a_killed_host_answers_nothing_and_boots_with_its_disk(hosts: Hosts) -> None:
    hosts.run("h3", "echo kept > ~/kept; echo gone > /tmp/gone")
    hosts.kill("h3")
    assert not hosts.answers("h3")
    hosts.start("h3")
    assert hosts.run("h3", "cat ~/kept").stdout == "kept\n"
    assert hosts.run("h3", "test -e /tmp/gone", check=False).returncode == 1


def test_a_wiped_host_is_a_new_one(hosts: Hosts) -> None:
    hosts.run("h3", "touch ~/mine")
    hosts.wipe("h3")
    hosts.start("h3")
    assert hosts.run("h3", "test -e ~/mine", check=False).returncode == 1


def test_a_host_that_is_cut_off_goes_on_and_comes_back(hosts: Hosts) -> None:
    hosts.run("h3", "sleep 2000 > /dev/null 2>&1 & disown")
    hosts.cut_off("h3")
    assert not hosts.answers("h3")
    assert hosts.enter("h3", ["hostname"]).stdout == "h3\n"
    hosts.reconnect("h3")
    hosts.wait_for("h3")
    assert "sleep 2000" in hosts.processes("h3").values()


def test_a_small_disk_gets_full(hosts: Hosts) -> None:
    hosts.limit_disk("h3", "~/small", megabytes=1)
    filled = hosts.run("h3", "head -c 2M /dev/zero > ~/small/file", check=False)
    assert "No space left" in filled.stderr


def test_a_stranger_finds_ssh_and_what_else_listens(hosts: Hosts) -> None:
    hosts.run("h3", "python3 -m http.server 34567 > /dev/null 2>&1 & disown")
    end = time.monotonic() + 10
    while (found := hosts.open_ports("h3")) != {22, 34567}:
        assert time.monotonic() < end, found


def test_ray_up_makes_all_hosts_nodes_of_one_cluster(hosts: Hosts, cluster: Path) -> None:
    assert cluster == LOCAL_YAML
    assert names_of_workers(hosts) == ["h1", "h2", "h3"]
    hosts.down(cluster)
    assert not any("raylet" in line for line in hosts.processes("h1").values())


def test_the_file_for_aws_brings_up_hosts_too_and_its_head_runs_no_trials(hosts: Hosts) -> None:
    for name in hosts.hosts:
        hosts.wipe(name)
        hosts.start(name)
    hosts.make_token()
    hosts.up(hosts.cluster_file(CLUSTER_YAML))
    hosts.wait_for_nodes(hosts.hosts)
    assert names_of_workers(hosts) == ["h2", "h3"]
