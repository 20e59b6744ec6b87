"""A pack that is built: what is in it, what is left out, and what a killed build leaves."""

import io
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data.decode import decode_square
from inat_ray.data.pack import open_pack

from .conftest import WriteImages, small_folder


def test_every_image_is_stored_as_it_is_decoded(
    write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    small_folder(write_images)
    pack = open_pack(config)
    assert pack.images.shape == (7, 40, 40, 3)
    assert pack.classes == ["ash", "oak"]
    assert pack.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert pack.names[4] == "oak/0.png"
    for name, image in zip(pack.names, pack.images, strict=True):
        expected = decode_square((folder / name).read_bytes(), side=40, fit="crop")
        assert (image == expected).all()


def test_channel_sums_are_those_of_the_pixels(
    write_images: WriteImages, config: DataConfig
) -> None:
    small_folder(write_images)
    pack = open_pack(config)
    pixels = pack.images.reshape(7, -1, 3) / 255
    np.testing.assert_allclose(pack.channel_sums, pixels.sum(axis=1))
    np.testing.assert_allclose(pack.channel_square_sums, (pixels**2).sum(axis=1))


def test_equal_digests_are_equal_files(
    write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    small_folder(write_images)
    shutil.copy(folder / "ash" / "0.png", folder / "oak" / "copy.png")
    pack = open_pack(config)
    assert pack.digests[0] == pack.digests[-1]
    assert len(set(pack.digests)) == 7


def test_images_that_cannot_be_read_are_left_out_by_name_and_reason(
    write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    small_folder(write_images)
    good = open_pack(config)
    whole = (folder / "ash" / "1.png").read_bytes()
    (folder / "ash" / "1.png").write_bytes(whole[: len(whole) // 2])
    (folder / "ash" / "2.png").write_bytes(b"")
    (folder / "oak" / "lost.png").symlink_to("nowhere")
    pack = open_pack(config.model_copy(update={"max_bad_fraction": 0.5}))
    left_out = {image.name: image.reason for image in pack.quarantined}
    assert left_out.keys() == {"ash/1.png", "ash/2.png", "oak/lost.png"}
    assert "truncated" in left_out["ash/1.png"]
    assert left_out["ash/2.png"] == "is empty"
    assert left_out["oak/lost.png"].startswith("cannot be read")
    rows = [good.names.index(name) for name in pack.names]
    assert pack.names == ["ash/0.png", "ash/3.png", "oak/0.png", "oak/1.png", "oak/2.png"]
    assert (pack.images == good.images[rows]).all()
    assert (pack.channel_sums == good.channel_sums[rows]).all()
    assert (pack.labels == good.labels[rows]).all()


def test_too_many_bad_images_stop_a_build_and_are_named(
    write_images: WriteImages, config: DataConfig, folder: Path, tmp_path: Path
) -> None:
    small_folder(write_images)
    (folder / "oak" / "2.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"1 of 7 .*max_bad_fraction 0.01 .* oak/2.png \(is empty"):
        open_pack(config)
    assert [path.name for path in (tmp_path / "cache" / "packs").iterdir()] == ["build.lock"]


def test_a_folder_without_one_good_image_is_refused_whatever_the_limit(
    folder: Path, config: DataConfig
) -> None:
    for name in ("ash", "oak"):
        (folder / name).mkdir()
        (folder / name / "0.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="none of 2 images can be read"):
        open_pack(config.model_copy(update={"max_bad_fraction": 1.0}))


def test_a_disk_that_is_too_full_is_found_before_decoding(
    write_images: WriteImages, config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_folder(write_images)
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 7 * 40 * 40 * 3)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"0\.0 GB free, building the pack needs"):
        open_pack(config)


KILLED_BUILD = """
import os, signal, sys
from inat_ray.config.experiment import DataConfig
from inat_ray.data import pack, spans

decode = spans.decode_square

def dies(content, **how):
    decoded.append(decode(content, **how))
    if len(decoded) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return decoded[-1]

decoded, spans.decode_square = [], dies
pack.open_pack(DataConfig.model_validate_json(sys.argv[1]))
"""


def test_a_killed_build_leaves_no_pack_and_the_next_clears_up(
    write_images: WriteImages, config: DataConfig, tmp_path: Path
) -> None:
    small_folder(write_images)
    packs = tmp_path / "cache" / "packs"
    line = [sys.executable, "-c", KILLED_BUILD, config.model_dump_json()]
    assert subprocess.run(line, timeout=60, check=False).returncode == -signal.SIGKILL
    assert list(packs.glob("*.partial"))
    assert not list(packs.glob("*.pack"))
    # Not the same pack: leftovers are not left to one who asks for the same again.
    pack = open_pack(config.model_copy(update={"fit": "pad"}))
    assert len(pack.names) == 7
    assert sorted(packs.iterdir()) == sorted([pack.path, packs / "build.lock"])


@pytest.mark.parametrize("kind", ["file", "link to a folder", "dangling link"])
def test_whatever_stands_where_a_build_works_is_in_nobodys_way(
    write_images: WriteImages, config: DataConfig, tmp_path: Path, kind: str
) -> None:
    small_folder(write_images)
    packs, own = tmp_path / "cache" / "packs", tmp_path / "own"
    packs.mkdir(parents=True)
    own.mkdir()
    (own / "thesis.txt").touch()
    (packs / ".thesis.partial").touch()
    target = own if kind == "link to a folder" else own / "nothing"
    for name in (f".{'0' * 32}.partial", f"{'0' * 24}.building"):
        scratch = packs / name
        _ = scratch.touch() if kind == "file" else scratch.symlink_to(target)
    assert len(open_pack(config).names) == 7
    assert [path.name for path in packs.glob("*.partial")] == [".thesis.partial"]
    assert not list(packs.glob("*.building"))
    assert (own / "thesis.txt").exists()


def test_nothing_is_printed_where_there_is_no_terminal(
    write_images: WriteImages, config: DataConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    small_folder(write_images)
    open_pack(config, progress=True)
    assert capfd.readouterr() == ("", "")


def test_warnings_about_a_picture_that_is_whole_are_not_shown(
    write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    small_folder(write_images)
    content = io.BytesIO()
    short_of_an_entry = b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12"
    Image.new("RGB", (40, 40)).save(content, "jpeg", exif=short_of_an_entry)
    (folder / "oak" / "damaged.jpg").write_bytes(content.getvalue())
    assert "oak/damaged.jpg" in open_pack(config).names
