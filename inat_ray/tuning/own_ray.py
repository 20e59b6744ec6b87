"""A Ray of our own on this machine: it listens on loopback alone and ends with the command.

Ray has no public setting for what is done here, so this file names its internals: the address and
the ports of a node, the wait for its start, signals, and the token. `tests/tuning/test_own_ray.py`
tries them with the installed Ray.
"""

import atexit
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import ray
from ray._common.utils import get_default_ray_temp_dir
from ray._private import node as ray_node
from ray._private import services
from ray._private.authentication import authentication_token_setup as authentication
from ray._private.services import start_ray_process
from ray._raylet import persist_port  # type: ignore[attr-defined]

from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.training import interruption

LOOPBACK = "127.0.0.1"

SECONDS_TO_START = 180.0
"""Ray itself gives a node 30 s, which is too little on a busy machine."""

ATTEMPTS = 2

SECONDS_BETWEEN_LOOKS = 0.2
"""How often the driver checks that Ray's processes are alive."""

SECONDS_TO_END = 20.0
"""How long a command whose Ray has died may take to end. Calls that wait for a dead
Ray abort the process after a minute."""

AGENT_PORTS = (
    *("metrics_agent_port", "metrics_export_port"),
    *("runtime_env_agent_port", "dashboard_agent_listen_port"),
)
PROCESSES_AHEAD = "--num_prestart_python_workers="

LONGEST_SOCKET_PATH = 107
"""Bytes that Linux allows."""

LIKE_A_SOCKET = "session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""As long a path as Ray makes below its folder."""

OTHER_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


class LoopbackNode(ray_node.Node):
    """The processes of a Ray that listens on loopback alone.

    It has no autoscaler and no dashboard, which would start even if it is switched off, and a
    monitor of logs only if they are shown.
    """

    shows_logs = False
    processes_ahead = 0
    """How many processes start at once, before a task or an actor needs one; Ray starts one a CPU.
    They import what trials do, which 64 of them on a machine with one GPU would do in vain."""

    def __init__(self, ray_params: Any, **settings: Any) -> None:
        ray_params.include_log_monitor = self.shows_logs
        # Given to `ray.init`, it would be replaced by an address that other machines reach.
        ray_params.node_ip_address = LOOPBACK
        for port in AGENT_PORTS:
            setattr(ray_params, port, _free_port())
        try:
            super().__init__(ray_params, **settings)
        except BaseException:
            self.kill_all_processes(check_alive=False)
            raise

    def start_api_server(self, **_: Any) -> None:
        """Starts none."""

    def start_monitor(self) -> None:
        """Starts none."""

    def start_raylet(self, *args: Any, **settings: Any) -> None:
        """Writes its agents' ports into the files in which they would write them.

        The raylet waits 15 s for these files and then aborts: too little on a busy machine, where
        an agent takes longer to import.
        """
        for port in AGENT_PORTS:
            persist_port(self._session_dir, self._node_id, port, getattr(self._ray_params, port))
        with patch.object(services, "start_ray_process", self._start_process):
            super().start_raylet(*args, **settings)

    def _start_process(self, command: list[str], *args: Any, **settings: Any) -> Any:
        ahead = f"{PROCESSES_AHEAD}{self.processes_ahead}"
        command = [ahead if part.startswith(PROCESSES_AHEAD) else part for part in command]
        return start_ray_process(command, *args, **settings)

    def start_ray_processes(self) -> None:
        super().start_ray_processes()  # type: ignore[no-untyped-call]
        deadline = time.monotonic() + SECONDS_TO_START
        while not self._is_known():
            if dead := dead_one(vital_processes(self)):
                raise RuntimeError(f"its {dead} died; see {self._logs_dir}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"it was not up after {SECONDS_TO_START:.0f} s")
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _is_known(self) -> bool:
        try:
            services.get_node(self.gcs_address, self._node_id)
        except RuntimeError:
            return False
        return True


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as server:
        port: int = server.getsockname()[1]
    return port


def is_own() -> bool:
    """Returns whether the Ray that is up is of `own_ray`: its processes have our environment."""
    return isinstance(ray._private.worker._global_node, LoopbackNode)


def vital_processes(node: Any) -> dict[str, "subprocess.Popen[bytes]"]:
    """Returns the processes without which Ray does not work, by name."""
    return {name: node.all_processes[name][0].process for name in ("raylet", "gcs_server")}


def dead_one(processes: Mapping[str, "subprocess.Popen[bytes]"]) -> str | None:
    """Returns the name of a process that has died; None if all are alive."""
    return next((name for name, one in processes.items() if one.poll() is not None), None)


@contextmanager
def signals_kept() -> Iterator[None]:
    """Keeps our handler of SIGTERM, which `ray.init` replaces in Python and then in C++."""
    with patch.object(ray._private.utils, "set_sigterm_handler", lambda handler: None):
        try:
            yield
        finally:
            interruption.take_signals_back()


@contextmanager
def own_ray(
    *, log_to_driver: bool, trials: int = 0, loads: Sequence[str] = (), **settings: Any
) -> Iterator[None]:
    """Keeps a Ray up while the context lasts; the other settings are those of `ray.init`.

    Processes for so many `trials` start with it, and load modules before they are needed.

    Raises RunFailedError if it does not start or dies, UserError if no folder is good for its
    sockets. When it dies, whatever runs in the context is interrupted as by Ctrl-C.
    """
    _keep_the_token_to_ourselves()
    # Ray gives workers a niceness of 15, so that its own processes are never short of the CPU. With
    # that a trial got 4 % of a core beside one other process; ours are as nice as the command, and
    # `resources.niceness` raises it.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Workers of one training meet there, too.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", _loopback_interface())
    # Ray Train trains on a thread, whose memory glibc takes from heaps of 64 MB that it gives back
    # whenever one is empty, whatever `device.tune_process` says: 8,000 to 13,000 page faults a
    # step of the 5-block CNN at 64 px and batch 64, 3 to 8 % of its time. With one heap for all
    # threads there are next to none.
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")
    folder = folder_for_sockets()
    node = type(
        "OwnNode", (LoopbackNode,), {"shows_logs": log_to_driver, "processes_ahead": trials}
    )
    config = {
        "preload_python_modules": list(loads),
        # Ray ends processes that wait where no CPU is free. While Tune reserves the CPUs of a trial
        # there is none: in one of four starts its process was gone, and another loaded torch anew.
        "kill_idle_workers_interval_ms": 0,
    }
    with signals_kept(), patch.object(ray_node, "Node", node):
        _start(
            include_dashboard=False,
            log_to_driver=log_to_driver,
            _temp_dir=folder,
            _system_config=config,
            **settings,
        )
    watch = Watch(ray._private.worker._global_node)
    try:
        with watch.watching():
            yield
    finally:
        watch.end_ray()


def _start(**settings: Any) -> None:
    """Raises RunFailedError if Ray fails twice; it may fail once because the machine is busy."""
    error = None
    for _ in range(ATTEMPTS):
        try:
            ray.init(address="local", **settings)
            return
        except Exception as failure:  # Ray raises bare ones
            error = failure
            ray.shutdown()
    raise RunFailedError(f"Ray did not start on this machine: {error}{_limits()}")


class Watch:
    """Interrupts the command when its Ray dies, before Ray aborts the process.

    State: `lost`, the name of a process that died although nobody had asked for an end.
    """

    def __init__(self, node: Any) -> None:
        self._processes = vital_processes(node)
        self.lost: str | None = None
        self._exit_code = 1
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="ray-watch")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watches while the context lasts; raises RunFailedError for any error of a death."""
        self._thread.start()
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            if self.lost is not None:
                raise RunFailedError(_died(self.lost)) from None
            if isinstance(error, interruption.Interrupted):
                self._exit_code = error.exit_code
            raise

    def end_ray(self) -> None:
        dead = dead_one(self._processes)
        self._over.set()
        if dead is None:
            ray.shutdown()
        else:
            # Ray's own exit handler would wait a minute. Registered last, this one runs first.
            atexit.register(_leave, self._exit_code)

    def _watch(self) -> None:
        while not self._over.wait(SECONDS_BETWEEN_LOOKS):
            if dead := dead_one(self._processes):
                self._interrupt(dead)
                return

    def _interrupt(self, dead: str) -> None:
        # Ray's agent would send the log of the dead process to our stdout.
        patch.object(ray._private.worker, "print_to_stdstream").start()
        # A signal to all processes of a job ends Ray's as well.
        if not interruption.is_ending():
            self.lost = dead
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        if not self._over.wait(SECONDS_TO_END):
            sys.stderr.write(f"\nerror: {_died(dead)}\n")
            _leave(self._exit_code)


def _leave(exit_code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def _died(process: str) -> str:
    return (
        f"Ray's {process} died (out of memory, or killed); what was recorded is"
        " safe, and the run can be resumed"
    )


def folder_for_sockets() -> str | None:
    """Returns None if Ray's own folder keeps the paths of sockets short, else another folder.

    Raises UserError if none can be written to.
    """
    if _has_short_paths(get_default_ray_temp_dir()):
        return None
    for folder in OTHER_FOLDERS:
        if os.access(folder, os.W_OK):
            return f"{folder}/ray"
    raise UserError(
        f"TMPDIR: {get_default_ray_temp_dir()}: too long a path for sockets, and none of"
        f" {', '.join(OTHER_FOLDERS)} can be written to; RAY_TMPDIR may name a folder for them"
    )


def _has_short_paths(folder: str) -> bool:
    return len(os.fsencode(f"{folder}/{LIKE_A_SOCKET}")) <= LONGEST_SOCKET_PATH


def _keep_the_token_to_ourselves() -> None:
    """Makes Ray's token, if it does not exist yet, in a file that nobody else can read."""
    before = os.umask(0o077)
    try:
        if authentication.enable_token_auth_by_default():
            authentication.ensure_token_if_auth_enabled()
    except OSError as error:
        raise RunFailedError(f"Ray's token: cannot be written: {error}") from None
    finally:
        os.umask(before)


def _loopback_interface() -> str:
    return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))


def _limits() -> str:
    """Returns the shell's limit that may be the cause, for the error message."""
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if space == resource.RLIM_INFINITY:
        return ""
    return f"; its address space is limited to {space / 1e9:.0f} GB: `ulimit -v unlimited` lifts it"
