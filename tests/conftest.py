"""What the suite shares: photographs made on the spot, one local Ray, an object store, one way to
run a command."""

import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from inat_ray import options
from tests.made_up_sweep import history_of, study, sweep, training  # noqa: F401 - fixtures

RAY_CPUS = 3

CLASSES = ("ash", "beech", "cedar")


@pytest.fixture(scope="session")
def pack_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the packs of the whole session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 classes in iNaturalist's layout, 20 training and 5 test images each, told apart by hue."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for role, count in (("train", 20), ("val", 5)):
        for label, name in enumerate(CLASSES):
            (folder / role / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 120, (50, 60, 3), dtype=np.uint8)
                pixels[..., label] += 100
                Image.fromarray(pixels).save(folder / role / name / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="session")
def small_settings(pack_cache: Path) -> list[str]:
    """--set lines that make an experiment small enough for a test."""
    return [
        f"data.cache={pack_cache}",
        "data.image_size=32",
        "model.filters=[4, 4, 8, 8, 8]",
        "model.dense=8",
        "recipe.batch_size=8",
        "recipe.epochs=2",
    ]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The root of a file system of one MiB; to mount one takes the rights of root."""
    folder = tmp_path / "small_disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def lite0_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ImageNet weights of the smallest EfficientNet, by timm's names."""
    from tests import lite_weights  # timm takes seconds

    path = tmp_path_factory.mktemp("weights") / "lite0.safetensors"
    lite_weights.main("lite0", path)
    return path


@pytest.fixture(autouse=True, scope="session")
def commands_leave_this_process_alone() -> Iterator[None]:
    """A command that a test calls ends as Python does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(options, "leave", sys.exit)
        yield


Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def command() -> Command:
    """Runs `python -m inat_ray.NAME ARGS` as a user would, in a process of its own."""

    def run(
        name: str, *args: object, cwd: Path | None = None
    ) -> "subprocess.CompletedProcess[str]":
        line = [sys.executable, "-m", f"inat_ray.{name}", *map(str, args)]
        return subprocess.run(
            line, capture_output=True, text=True, cwd=cwd, timeout=240, check=False
        )

    return run


@pytest.fixture
def start_command() -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Starts a command and goes on; what still runs when the test ends is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, *args: object) -> "subprocess.Popen[bytes]":
        line = [sys.executable, "-m", f"inat_ray.{name}", *map(str, args)]
        quiet = subprocess.DEVNULL
        started.append(subprocess.Popen(line, stdout=quiet, stderr=quiet))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


class ObjectStore:
    """A server that speaks S3, on loopback; what it holds outlives a stop."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._server: Any = None
        self._buckets = 0

    def start(self) -> None:
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def bucket(self) -> str:
        """The address of a new one."""
        self._buckets += 1
        name = f"bucket-{self._buckets}"
        requests.put(f"http://127.0.0.1:{self.port}/{name}", timeout=10).raise_for_status()
        return f"s3://{name}"


@pytest.fixture(scope="session")
def object_store_address() -> int:
    """The port, and the environment in which every process of the session finds the store there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return port


@pytest.fixture(scope="session")
def running_store(object_store_address: int) -> Iterator[ObjectStore]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    store = ObjectStore(object_store_address)
    store.start()
    yield store
    store.stop()


@pytest.fixture
def object_store(running_store: ObjectStore) -> Iterator[ObjectStore]:
    """A test may stop it; the next one finds it running."""
    yield running_store
    running_store.stop()
    running_store.start()


@pytest.fixture
def bucket(running_store: ObjectStore) -> str:
    """The address of an empty one."""
    return running_store.bucket()


@pytest.fixture(scope="session")
def ray_instance(object_store_address: int) -> Iterator[None]:
    """The one local Ray that all tests of a session share.

    It gives away more CPUs than a small machine has, so that three workers can meet on it.
    """
    import ray

    from inat_ray.tuning.session import QUIET

    os.environ.update(QUIET)
    ray.init(address="local", num_cpus=RAY_CPUS, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window.

    Its loop of events must not run when other modules start theirs.
    """
    program = shutil.which("chromium")
    assert program, "this test needs Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        # Its sandbox needs rights that a container does not give.
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()
