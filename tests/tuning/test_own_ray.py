import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.training.interruption import interruptible
from inat_ray.tuning import own_ray
from inat_ray.tuning.own_ray import Watch, folder_for_sockets
from inat_ray.tuning.session import ray_session


class Process:
    """One of Ray's, which is dead or alive."""

    def __init__(self) -> None:
        self.code: int | None = None
        self.process = self

    def poll(self) -> int | None:
        return self.code


class Node:
    def __init__(self) -> None:
        self.all_processes = {"raylet": [Process()], "gcs_server": [Process()]}


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_the_death_of_its_ray_interrupts_a_command_and_is_told_in_a_sentence(name, monkeypatch):
    monkeypatch.setattr("atexit.register", lambda *_: None)
    node, seen = Node(), []

    def command() -> None:
        node.all_processes[name][0].code = -9
        try:
            signal.pause()
        except KeyboardInterrupt as error:
            seen.append(str(error))
            raise

    watch = Watch(node)
    with (
        interruptible(),
        pytest.raises(RunFailedError, match=rf"Ray's {name} died.*can be resumed"),
        watch.watching(),
    ):
        command()
    watch.end_ray()
    assert seen == ["SIGTERM"]


def test_an_error_while_ray_lives_is_told_as_it_is(monkeypatch):
    monkeypatch.setattr("ray.shutdown", lambda: None)
    watch = Watch(Node())
    with pytest.raises(UserError, match="mine"), watch.watching():
        raise UserError("mine")
    watch.end_ray()


def test_sockets_get_another_place_where_their_paths_would_be_too_long(monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/short")
    assert folder_for_sockets() is None
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + "long" * 22)
    assert folder_for_sockets() == "/tmp/ray"
    monkeypatch.setattr(own_ray, "OTHER_FOLDERS", ("/nowhere",))
    with pytest.raises(UserError, match=r"too long a path for sockets.*RAY_TMPDIR"):
        folder_for_sockets()


def test_what_ray_fails_with_twice_at_its_start_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    tried = []

    def fails(**_: object) -> None:
        tried.append(1)
        raise Exception("The current node timed out during startup")

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", fails)
    with (
        pytest.raises(RunFailedError, match=r"Ray did not start on this machine: The current node"),
        ray_session(verbose=False),
    ):
        raise AssertionError("it did not start")
    assert len(tried) == 2


def test_a_cluster_that_is_gone_is_told_where_any_was_asked_for(monkeypatch, tmp_path):
    """Ray itself would wait for it, for many minutes."""
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", set)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(UserError, match="--address auto: there is no Ray cluster"):
        join("auto")
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:1")
    with pytest.raises(UserError, match="--address auto: nothing answers there"):
        join("auto")


def join(address: str) -> None:
    with ray_session(verbose=False, address=address):
        raise AssertionError("there is none")


ALONE = """
import os
import sys
import ray
from inat_ray.tuning.session import ray_session

with ray_session(verbose=False):
    assert ray.get(ray.remote(lambda: os.nice(0)).remote()) == os.nice(0)
    print(ray._private.worker._global_node.get_session_dir_path(), flush=True)
    sys.stdin.read()
"""


RESERVED = """
import os, sys, time
import psutil
import ray
from ray.util import placement_group
from inat_ray.tuning.own_ray import own_ray

def ahead():
    below = psutil.Process().children(recursive=True)
    return {each.pid for each in below if each.cmdline()[:1] == ["ray::IDLE"]}

with own_ray(log_to_driver=False, trials=1, num_cpus=1):
    while not (begun := ahead()):
        time.sleep(0.1)
    group = placement_group([{"CPU": 1}])
    ray.get(group.ready())
    time.sleep(3)  # Ray looks five times a second for what has waited for one
    task = ray.remote(os.getpid).options(placement_group=group)
    assert {ray.get(task.remote())} == begun
"""


SLOW_AGENT = """
import sys, time
if "dashboard/agent.py" in open("/proc/self/cmdline").read():
    time.sleep(20)
"""


@pytest.mark.slow
def test_ray_starts_where_its_agent_needs_longer_than_its_raylet_would_wait(tmp_path):
    """As on a busy machine: the raylet gives it 15 s, and then aborts."""
    (tmp_path / "sitecustomize.py").write_text(SLOW_AGENT)
    places = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    line = [sys.executable, "-c", ALONE]
    done = subprocess.run(
        line, env=environment, input="", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "session_" in done.stdout


@pytest.mark.slow
def test_a_process_that_was_started_ahead_waits_until_a_trial_has_its_cpus():
    subprocess.run([sys.executable, "-c", RESERVED], check=True, timeout=120)


def test_a_ray_of_our_own_listens_on_loopback_alone_and_joins_no_other(tmp_path):
    """With a home of its own, a dead cluster to be joined, and a folder too deep for sockets."""
    deep = tmp_path / ("deep" * 20)
    (deep / "ray").mkdir(parents=True)
    (deep / "ray" / "ray_current_cluster").write_text("127.0.0.1:1")
    environment = {k: v for k, v in os.environ.items() if k not in ("RAY_AUTH_MODE", "RAY_ADDRESS")}
    environment |= {"HOME": str(tmp_path), "RAY_TMPDIR": str(deep)}
    pipe = subprocess.PIPE
    line = [sys.executable, "-c", ALONE]
    process = subprocess.Popen(
        line, env=environment, stdin=pipe, stdout=pipe, text=True, start_new_session=True
    )
    try:
        assert process.stdout.readline().startswith("/tmp/ray/session_")
        ours = [pid for pid in pids() if session_of(pid) == process.pid]
        names = {Path(f"/proc/{pid}/comm").read_text().strip(): pid for pid in ours}
        assert {"gcs_server", "raylet"} <= names.keys()
        environment_of_trials = Path(f"/proc/{names['raylet']}/environ").read_text().split("\0")
        assert {"MALLOC_ARENA_MAX=1", "RAY_worker_niceness=0"} <= set(environment_of_trials)
        assert not any("dashboard.py" in command_line(pid) for pid in ours)
        assert {address for pid in ours for address in listening(pid)} == {"127.0.0.1"}
        token = tmp_path / ".ray" / "auth_token"
        assert [oct(file.stat().st_mode & 0o777) for file in (token.parent, token)] == [
            "0o700",
            "0o600",
        ]
    finally:
        process.communicate(timeout=60)
    assert process.returncode == 0


def pids() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]


def session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def listening(pid: int) -> list[str]:
    """The addresses on which a process listens."""
    import psutil  # brought by Ray

    return [
        one.laddr.ip.removeprefix("::ffff:")
        for one in psutil.Process(pid).net_connections()
        if one.status == "LISTEN"
    ]
