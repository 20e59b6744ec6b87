"""Processes that help to build a pack: the same pack, and none of them outlives the build."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from inat_ray.config.experiment import DataConfig
from inat_ray.data import pack_build, spans
from inat_ray.data.decode import LARGE, Square, decode_square
from inat_ray.data.demo import Demo
from inat_ray.data.pack import Pack, open_pack
from inat_ray.data.spans import Decoded, Files, Helper, Images, Span

from .conftest import WriteImages, small_folder


@pytest.fixture(scope="module")
def helper() -> Iterator[Helper]:
    with Helper() as helper:
        yield helper


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of three cores, and builds that are worth processes for few images."""
    monkeypatch.setattr(pack_build, "WORTH_A_PROCESS", 1)
    monkeypatch.setattr(pack_build, "TOGETHER", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)


def decoded(helper: Helper | None, images: Images, path: Path) -> tuple[Decoded, bytes]:
    """What is told of rows 1 and 2, and their file; decoded here without `helper`."""
    path.write_bytes(bytes(3 * 32 * 32 * 3))
    span = Span(images.part(range(1, 3)), range(1, 3), path=str(path), side=32, fit="crop")
    told = helper.decode(span) if helper else span.decode()
    return told, path.read_bytes()


def same_packs(one: Pack, other: Pack) -> bool:
    told = [(p.names, p.labels.tolist(), p.digests, p.quarantined) for p in (one, other)]
    sums = [(p.channel_sums.tolist(), p.channel_square_sums.tolist()) for p in (one, other)]
    return told[0] == told[1] and sums[0] == sums[1] and bool((one.images == other.images).all())


def test_processes_build_the_pack_that_threads_build(
    write_images: WriteImages,
    config: DataConfig,
    folder: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    small_folder(write_images)
    whole = (folder / "ash" / "1.png").read_bytes()
    (folder / "ash" / "1.png").write_bytes(whole[: len(whole) // 2])
    (folder / "ash" / "2.png").write_bytes(b"")
    (folder / "oak" / "lost.png").symlink_to("nowhere")
    config = config.model_copy(update={"max_bad_fraction": 0.5})
    by_threads = open_pack(config)
    assert len(by_threads.quarantined) == 3
    request.getfixturevalue("many")
    assert same_packs(
        open_pack(config.model_copy(update={"cache": str(tmp_path / "other")})), by_threads
    )


def test_a_process_draws_what_this_one_draws(helper: Helper, tmp_path: Path) -> None:
    demo = Demo(images_per_class=1)
    there, here = decoded(helper, demo, tmp_path / "a"), decoded(None, demo, tmp_path / "b")
    assert there[1] == here[1]
    assert there[0].facts.tobytes() == here[0].facts.tobytes()


def test_large_pictures_are_left_to_the_process_that_decodes_them_one_at_a_time(
    helper: Helper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("1", (LARGE // 4000 + 1, 4000), 1).save(tmp_path / "large.png")
    Image.new("1", (40, 40), 1).save(tmp_path / "small.png")
    files = Files([tmp_path / f"{size}.png" for size in ("small", "large", "small")])
    sizes = []

    def seen(content: bytes, **how: Any) -> Square:
        sizes.append(len(content))
        return decode_square(content, **how)

    monkeypatch.setattr(spans, "decode_square", seen)
    there, file = decoded(helper, files, tmp_path / "file")
    assert (tmp_path / "large.png").stat().st_size in sizes
    assert file == bytes(32 * 32 * 3) + b"\xff" * (2 * 32 * 32 * 3)
    assert there.reasons == [None, None]


def test_a_process_that_is_gone_is_done_without(
    write_images: WriteImages, config: DataConfig, many: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(Helper):
        def __init__(self) -> None:
            super().__init__()
            self.process.kill()

    monkeypatch.setattr(pack_build, "Helper", Gone)
    small_folder(write_images)
    assert len(open_pack(config).names) == 7


SCRIPT = """
import os, psutil, signal, sys, time
from inat_ray.config.experiment import DataConfig
from inat_ray.data import pack, pack_build

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell may have switched off

def ends(span):
    print(*(helper.pid for helper in psutil.Process().children()), flush=True)
    os.kill(os.getpid(), int(sys.argv[2]))
    time.sleep(0.3)
    return decode(span)

pack_build.WORTH_A_PROCESS = pack_build.TOGETHER = 1
os.cpu_count = lambda: 3
decode, pack_build.Span.decode = pack_build.Span.decode, ends
pack.open_pack(DataConfig.model_validate_json(sys.argv[1]))
"""
"""As people write scripts, so that a process that loaded it would start it once more."""


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nobody_is_left_when_a_build_ends(
    write_images: WriteImages, config: DataConfig, tmp_path: Path, by: signal.Signals
) -> None:
    small_folder(write_images)
    line = [sys.executable, "-c", SCRIPT, config.model_dump_json(), str(int(by))]
    ended = subprocess.run(line, timeout=60, check=False, capture_output=True, text=True)
    assert ended.returncode == -by
    helpers = [int(pid) for pid in ended.stdout.split()]
    assert len(helpers) == 2
    assert ended.stderr == "" or by == signal.SIGINT
    until = time.monotonic() + 10
    while any(map(is_running, helpers)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(map(is_running, helpers))
    assert not list((tmp_path / "cache" / "packs").glob("*.pack"))


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_process_loads_little() -> None:
    code = "import inat_ray.data.spans, sys; print({'torch', 'ray', 'pydantic'} & {*sys.modules})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"
