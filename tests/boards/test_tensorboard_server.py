"""A real TensorBoard, on a port that was free a moment before."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from inat_ray.boards.tensorboard import TensorBoardObserver
from inat_ray.boards.tensorboard_server import HOST, check_port, tensorboard_server
from inat_ray.config.errors import UserError

SERVE = """
import sys, time
from pathlib import Path
from inat_ray.boards.tensorboard_server import tensorboard_server
with tensorboard_server(Path(sys.argv[1]), port=int(sys.argv[2]), tell=print):
    time.sleep(600)
"""


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind((HOST, 0))
        return free.getsockname()[1]


@pytest.fixture
def folder(sweep, tmp_path) -> Path:
    observer = TensorBoardObserver(tmp_path)
    for record in sweep:
        observer(record)
    observer.close()
    return tmp_path


def runs(port: int) -> list[str]:
    """What the server knows, once it has read it."""
    for _ in range(120):
        try:
            with urlopen(f"http://{HOST}:{port}/data/runs", timeout=10) as answer:
                if found := json.load(answer):
                    return found
        except URLError:
            pass
        time.sleep(0.25)
    raise AssertionError("TensorBoard shows no run")


def is_free(port: int) -> bool:
    try:
        check_port(port)
    except UserError:
        return False
    return True


def test_a_port_that_is_taken_is_a_users_mistake():
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--tensorboard-port: {number}: address already"):
            check_port(number)
    check_port(number)


def test_without_a_port_nothing_is_served(tmp_path):
    told: list[str] = []
    with tensorboard_server(tmp_path, port=None, tell=told.append):
        pass
    assert not told


@pytest.mark.slow
def test_the_run_is_served_until_it_ends(folder, port):
    told: list[str] = []
    with tensorboard_server(folder, port=port, tell=told.append):
        assert "trial_0000" in runs(port)
        assert not is_free(port)
    assert is_free(port)
    assert len(told) == 1
    assert f"http://127.0.0.1:{port}/" in told[0]


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_does_not_outlive_a_run_that_is_cut_off(folder, port, end):
    line = [sys.executable, "-c", SERVE, str(folder), str(port)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(line, stdout=quiet, stderr=quiet) as process:
        assert "trial_0000" in runs(port)
        os.kill(process.pid, end)
        process.wait(timeout=30)
    for _ in range(40):
        if is_free(port):
            break
        time.sleep(0.25)
    assert is_free(port)
