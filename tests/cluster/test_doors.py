"""Who can reach the cluster, and with what: seen from a stranger's place in the same network."""

import json
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.hosts import CHECKOUT, Hosts, Result
from tests.cluster.storage import BucketServer
from tests.cluster.sweeps import Sweep

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

GCS = 6379
"""The port by which drivers and nodes join a cluster."""

FIREWALL = "bash ~/inat_ray/experiments/clusters/firewall.sh"
RULES = "~/inat_ray/experiments/clusters/local.yaml"


@pytest.fixture(scope="module")
def swept(hosts: Hosts, cluster: Path) -> Sweep:
    """A short sweep that is over: what it left is searched for the token."""
    sweep = Sweep.start(hosts, "doors", "search.trials=3", "recipe.epochs=1")
    sweep.wait_for_end()
    return sweep


@pytest.fixture
def without_firewall(hosts: Hosts, cluster: Path) -> Iterator[None]:
    for name in hosts.hosts:
        hosts.enter(name, ["nft", "delete", "table", "inet", "inat_ray"])
    yield
    for name in hosts.hosts:
        hosts.run(name, f"{FIREWALL} {RULES}")


def stranger(hosts: Hosts, code: str, *, token: str | None = None) -> Result:
    """`code` in a Python with Ray, in the stranger's place; with a token of his own, or none."""
    mode = "token" if token else "disabled"
    environment = ["env", f"RAY_AUTH_MODE={mode}", "RAY_AUTH_TOKEN_PATH=/nowhere"]
    if token:
        environment.append(f"RAY_AUTH_TOKEN={token}")
    return hosts.outside([*environment, sys.executable, "-c", code], check=False)


JOIN = """
import ray
ray.init(address="{address}:6379", log_to_driver=False, logging_level="ERROR")
print("LET IN", ray.get(ray.remote(lambda: 1).remote()))
"""


def test_a_port_scan_finds_ssh_alone_and_without_the_firewall_much_more(
    hosts: Hosts, cluster: Path, request: pytest.FixtureRequest
) -> None:
    after = {name: hosts.open_ports(name) for name in ("h1", "h2")}
    request.getfixturevalue("without_firewall")
    before = {name: hosts.open_ports(name) for name in ("h1", "h2")}
    assert after == {"h1": {22}, "h2": {22}}
    assert {22, GCS} <= before["h1"]
    assert len(before["h2"]) > 3
    assert 8265 not in before["h1"]  # the dashboard keeps to loopback anyhow
    figures = CHECKOUT / "runs" / "cluster" / "ports.json"
    figures.parent.mkdir(parents=True, exist_ok=True)
    seen = {"before": before, "after": after}
    text = json.dumps(
        {when: {n: sorted(p) for n, p in ports.items()} for when, ports in seen.items()}
    )
    figures.write_text(text + "\n")


@pytest.mark.parametrize("token", [None, "0" * 64])
def test_even_without_the_firewall_a_stranger_is_not_let_in(
    hosts: Hosts, cluster: Path, without_firewall: None, token: str | None
) -> None:
    tried = stranger(hosts, JOIN.format(address=hosts.address("h1")), token=token)
    assert "LET IN" not in tried.stdout
    assert re.search(r"(?i)auth|token|credential", tried.stdout + tried.stderr)


def test_jobs_and_the_state_of_the_cluster_are_for_those_with_the_token(
    hosts: Hosts, cluster: Path
) -> None:
    """On the head itself, where another user may have an account: the dashboard's own port."""
    for path in ("api/jobs/", "api/version", "nodes?view=summary", "api/v0/actors"):
        url = f"http://127.0.0.1:8265/{path}"
        asked = "curl -s -o /dev/null -w '%{http_code}'"
        token = '-H "Authorization: Bearer $(cat ~/.ray/auth_token)"'
        assert hosts.run("h1", f"{asked} {url}").stdout == "401", path
        assert hosts.run("h1", f"{asked} {token} {url}").stdout == "200", path
    submit = (
        "RAY_AUTH_MODE=disabled ray job submit --address http://127.0.0.1:8265 -- touch ~/broken"
    )
    refused = hosts.run("h1", submit, check=False)
    assert refused.returncode != 0
    assert hosts.run("h1", "test -e ~/broken", check=False).returncode == 1


def test_the_token_is_in_no_log_no_command_line_and_no_run(
    hosts: Hosts, cluster: Path, swept: Sweep, bucket_server: BucketServer
) -> None:
    token = (hosts.home / ".ray" / "auth_token").read_text().strip()
    assert len(token) >= 32
    for name in hosts.hosts:
        assert not [line for line in hosts.processes(name).values() if token in line], name
        search = ["grep", "-rlF", "--exclude=auth_token", token, "/tmp", str(Path.home())]
        found = hosts.enter(name, search, check=False, timeout=120)
        assert found.stdout == "", name
    kept = bucket_server.run("doors")
    assert kept.names()
    assert not [name for name in kept.names() if token.encode() in (kept / name).read()]


def test_files_with_secrets_are_their_owners_alone(hosts: Hosts, cluster: Path) -> None:
    for name, disk in ((name, host.disk / "home") for name, host in hosts.hosts.items()):
        assert stat.S_IMODE((disk / ".ray" / "auth_token").stat().st_mode) == 0o600, name
        assert stat.S_IMODE((disk / ".ray").stat().st_mode) == 0o700, name
    keys = list((hosts.hosts["h1"].disk / "home").glob("ray_bootstrap_key.pem"))
    assert len(keys) == 1
    assert stat.S_IMODE(keys[0].stat().st_mode) == 0o600
