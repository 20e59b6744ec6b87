"""The download, from a real server on this machine that also breaks off, lies and refuses."""

import io
import re
import shutil
import stat
import threading
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data import inaturalist
from inat_ray.data.inaturalist import CHUNK, fetch_inaturalist
from inat_ray.data.sources import open_source


def archive_of(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


def photograph(number: int) -> bytes:
    content = io.BytesIO()
    rng = np.random.default_rng(number)
    Image.fromarray(rng.integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(content, "png")
    return content.getvalue()


FOLDERS = [
    f"inaturalist_12K/{part}/{name}" for part in ("train", "val") for name in ("Aves", "Fungi")
]
GOOD = archive_of(
    {
        f"{folder}/{i}.png": photograph(10 * n + i)
        for n, folder in enumerate(FOLDERS)
        for i in range(3)
    }
    | {"inaturalist_12K/.DS_Store": b"stray"}
)


class Server:
    """Holds one file; what it does wrong can be set, and what it was asked for is kept."""

    def __init__(self) -> None:
        self.address = ""
        self.content = GOOD
        self.breaks_after: list[int] = []
        """Bytes that it gives before it hangs up, for each of the first requests."""
        self.ranges = True
        self.status = 200
        self.asked: list[str | None] = []
        """The `Range` of each request."""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.asked.append(wanted)
        start = int(re.findall(r"\d+", wanted)[0]) if wanted and self.ranges else 0
        body = self.content[start:]
        request.send_response(self.status if self.status != 200 else 206 if start else 200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: self.breaks_after.pop(0)] if self.breaks_after else body)


@pytest.fixture
def server() -> Iterator[Server]:
    behavior = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            behavior.answer(self)

        def log_message(self, *_: object) -> None:
            """Not onto the test's stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        behavior.address = f"http://127.0.0.1:{http.server_port}/nature_12K.zip"
        yield behavior
        http.shutdown()
        thread.join()


@pytest.fixture
def config(server: Server, tmp_path: Path) -> DataConfig:
    return DataConfig(
        source="inaturalist-12k", inaturalist_url=server.address, cache=str(tmp_path / "cache")
    )


def fetch(config: DataConfig) -> Path:
    return fetch_inaturalist(config, size=len(GOOD))


def refusal(config: DataConfig) -> str:
    with pytest.raises(UserError) as error:
        fetch(config)
    return str(error.value)


def kept(config: DataConfig) -> dict[str, int]:
    """The files beside the images, with their sizes."""
    folder = Path(config.cache) / "inaturalist-12k"
    return {path.name: path.stat().st_size for path in folder.iterdir() if path.name != "lock"}


def test_it_is_downloaded_unpacked_and_the_archive_deleted(
    server: Server, config: DataConfig
) -> None:
    images = fetch(config)
    assert (images / "inaturalist_12K/val/Fungi/2.png").read_bytes() == photograph(32)
    assert kept(config).keys() == {"images"}
    assert fetch(config) == images
    assert len(server.asked) == 1


def test_it_is_a_source_in_inaturalists_layout(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inaturalist, "fetch_inaturalist", fetch)
    source = open_source(config)
    assert source.classes == ["Aves", "Fungi"]
    assert [item.role for item in source.items] == ["train"] * 6 + ["test"] * 6


def test_a_transfer_that_breaks_off_goes_on_where_it_was(
    server: Server, config: DataConfig
) -> None:
    server.breaks_after = [CHUNK + 10, 2 * CHUNK]
    assert (fetch(config) / "inaturalist_12K/train/Aves/0.png").read_bytes() == photograph(0)
    assert server.asked == ["bytes=0-", f"bytes={CHUNK}-", f"bytes={3 * CHUNK}-"]


def test_a_later_call_resumes_what_an_earlier_one_left(server: Server, config: DataConfig) -> None:
    server.breaks_after = [CHUNK, 0]
    message = refusal(config)
    assert f"{CHUNK:,} of {len(GOOD):,} bytes are kept" in message
    assert kept(config) == {"archive.zip": CHUNK}
    fetch(config)
    assert server.asked[-1] == f"bytes={CHUNK}-"


def test_a_server_without_ranges_starts_again(server: Server, config: DataConfig) -> None:
    server.ranges = False
    server.breaks_after = [CHUNK]
    assert (fetch(config) / "inaturalist_12K/train/Aves/0.png").read_bytes() == photograph(0)
    assert server.asked == ["bytes=0-", f"bytes={CHUNK}-"]


def test_a_server_without_ranges_that_always_breaks_off_is_given_up(
    server: Server, config: DataConfig
) -> None:
    server.ranges = False
    server.breaks_after = [CHUNK] * 5
    assert f"{CHUNK:,} of" in refusal(config)
    assert len(server.asked) == 2


@pytest.mark.parametrize("change", [b"", b"more"])
def test_a_file_of_another_size_is_refused_before_a_byte_is_kept(
    change: bytes, server: Server, config: DataConfig
) -> None:
    server.breaks_after = [CHUNK, 0]
    refusal(config)
    server.content = GOOD + change if change else b"<html>Sign in first</html>"
    server.ranges = bool(change)
    message = refusal(config)
    assert f"has {len(server.content):,} bytes" in message
    assert f"has {len(GOOD):,}; an address of that file is needed" in message
    assert kept(config) == {"archive.zip": CHUNK}


@pytest.mark.parametrize("status", [403, 404, 500])
def test_an_address_that_does_not_answer_is_named(
    status: int, server: Server, config: DataConfig
) -> None:
    server.status = status
    message = refusal(config)
    assert server.address in message
    assert str(status) in message
    assert kept(config) == {}


def test_a_server_that_is_not_there_is_named(config: DataConfig) -> None:
    gone = config.model_copy(update={"inaturalist_url": "http://127.0.0.1:1/nature_12K.zip"})
    assert "data.inaturalist_url: http://127.0.0.1:1/nature_12K.zip" in refusal(gone)


def test_an_archive_damaged_on_the_way_is_deleted(server: Server, config: DataConfig) -> None:
    at = GOOD.index(photograph(0)) + 500
    server.content = GOOD[:at] + bytes([GOOD[at] ^ 255]) + GOOD[at + 1 :]
    assert "is not the archive: Bad CRC-32" in refusal(config)
    assert "archive.zip" not in kept(config)
    assert "images" not in kept(config)
    server.content = GOOD
    fetch(config)
    assert kept(config).keys() == {"images"}


@pytest.mark.parametrize(
    "name", ["../outside.txt", "a/../../outside.txt", "/outside.txt", "C:/outside.txt", "..\\o.txt"]
)
def test_a_member_that_leads_outside_is_refused_and_nothing_unpacked(
    name: str, server: Server, config: DataConfig, tmp_path: Path
) -> None:
    server.content = archive_of({"inside.txt": b"", name: b"outside"})
    with pytest.raises(UserError, match=r"its member .* leads outside"):
        fetch_inaturalist(config, size=len(server.content))
    assert kept(config) == {}
    assert not list(tmp_path.rglob("*outside.txt"))


def test_a_link_in_the_archive_is_refused(server: Server, config: DataConfig) -> None:
    link = zipfile.ZipInfo("inaturalist_12K/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(link, "/etc")
    server.content = content.getvalue()
    with pytest.raises(UserError, match=r"'inaturalist_12K/link' leads outside"):
        fetch_inaturalist(config, size=len(server.content))


def encrypted(content: bytes) -> bytes:
    """With the bit that says so, in the archive's directory."""
    at = content.index(b"PK\x01\x02") + 8
    return content[:at] + bytes([content[at] | 1]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (archive_of({}), "it contains no file"),
        (archive_of({"train/": b""}), "it contains no file"),
        (archive_of({"train": b"x", "train/ash/1.jpg": b"x"}), "'train' is in it more than"),
        (archive_of({"train/ash/1.jpg": b"x", "train": b"x"}), "'train' is in it more than"),
        (encrypted(archive_of({"train/1.jpg": b"x"})), "'train/1.jpg' is encrypted"),
        (archive_of({"a" * 300: b"x"}), "File name too long"),
    ],
    ids=["empty", "a folder", "file, then folder", "folder, then file", "encrypted", "long"],
)
def test_an_archive_that_cannot_be_unpacked_is_told_and_deleted(
    content: bytes, finding: str, server: Server, config: DataConfig
) -> None:
    server.content = content
    with pytest.raises(UserError, match=f"is not the archive: .*{finding}.*it was deleted"):
        fetch_inaturalist(config, size=len(content))
    assert "archive.zip" not in kept(config)
    assert "images" not in kept(config)


def test_what_a_killed_call_had_unpacked_is_replaced(server: Server, config: DataConfig) -> None:
    folder = Path(config.cache) / "inaturalist-12k"
    (folder / "images.unpacking" / "half").mkdir(parents=True)
    (folder / "archive.zip").write_bytes(GOOD)
    assert [path.name for path in fetch(config).iterdir()] == ["inaturalist_12K"]
    assert kept(config).keys() == {"images"}
    assert server.asked == []


def test_a_disk_that_is_too_full_is_found_before_the_download(
    server: Server, config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")(10**9, 10**9, len(GOOD))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert "0.0 GB free, archive and images need" in refusal(config)
    assert server.asked == []
