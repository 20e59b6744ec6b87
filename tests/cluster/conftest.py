"""Hosts, a bucket and a Ray cluster for the tests of this folder; `make test-cluster` runs them."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cluster.hosts import LOCAL_YAML, Hosts, missing
from tests.cluster.storage import KEYS, BucketServer

CLASSES = ("ash", "beech", "cedar", "dogwood")


@pytest.fixture(scope="session")
def able_to_make_hosts() -> None:
    """Skips where no hosts can be made; in CI that is an error, for nobody would notice a skip."""
    if lacks := missing():
        reason = f"no hosts can be made here: missing {', '.join(lacks)}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def hosts(able_to_make_hosts: None) -> Iterator[Hosts]:
    """Three hosts, new for each module."""
    with Hosts(3) as made:
        yield made


@pytest.fixture(scope="module")
def bucket_server(hosts: Hosts) -> Iterator[BucketServer]:
    """A bucket, and on every host the keys to it."""
    server = BucketServer()
    server.start()
    server.make_bucket()
    hosts.give("~/.aws/credentials", KEYS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        yield server
    server.stop()


@pytest.fixture(scope="module")
def cluster(hosts: Hosts, bucket_server: BucketServer, photographs: Path) -> Path:
    """The file of a cluster that is up on all hosts: h1 is its head, each host gives one CPU."""
    hosts.make_token()
    file = hosts.cluster_file(LOCAL_YAML, head_cpus=1, storage=f"'{bucket_server.address}'")
    hosts.up(file)
    hosts.wait_for_nodes(hosts.hosts)
    hosts.send(file, photographs)
    return file


@pytest.fixture(scope="module")
def photographs(hosts: Hosts) -> Path:
    """On the laptop: those of the folder that DATA names, or some that are made here."""
    folder = hosts.home / "photos"
    if given := os.environ.get("DATA"):
        shutil.copytree(given, folder)
    else:
        make_photographs(folder)
    return folder


def make_photographs(folder: Path) -> None:
    """In iNaturalist's layout, 150 training and 20 test images of each class, told by hue."""
    rng = np.random.default_rng(0)
    for role, count in (("train", 150), ("val", 20)):
        for label, name in enumerate(CLASSES):
            (folder / role / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 160, (60, 80, 3), dtype=np.uint8)
                pixels[..., label % 3] += 20 + 30 * (label // 3)
                Image.fromarray(pixels).save(folder / role / name / f"{number:03d}.jpg")


def wait_until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
