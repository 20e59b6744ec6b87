"""A pack that is damaged, or another data set's, is built again instead of trained on."""

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data import pack as pack_module
from inat_ray.data import pack_file
from inat_ray.data.pack import Pack, open_pack, reopen_pack
from inat_ray.data.pack_file import DamagedPackError

from .conftest import WriteImages, small_folder


@pytest.fixture
def built(write_images: WriteImages, config: DataConfig) -> Path:
    """A pack of seven images."""
    small_folder(write_images)
    return open_pack(config).path


def flip(path: Path, place: int, bits: int = 0x10) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ bits]))


def place_of_pixels(path: Path) -> int:
    return path.read_bytes().index(Pack.open(path).images[3].tobytes())


def same(one: Pack, other: Pack) -> bool:
    return (
        one.names == other.names
        and one.classes == other.classes
        and (one.labels == other.labels).all()
        and bool((one.images == other.images).all())
    )


def wait_for_the_disk() -> None:
    for thread in threading.enumerate():
        if thread.name == pack_file.MARKING:
            thread.join()


def test_every_flipped_byte_is_noticed_or_harmless(built: Path, tmp_path: Path) -> None:
    whole = Pack.open(built)
    copy = tmp_path / built.name
    size = built.stat().st_size
    rng = np.random.default_rng(0)
    places = {*rng.integers(0, size, 150), *range(0, 64, 7), *range(size - 3000, size, 23)}
    noticed = 0
    for place in sorted(places):
        shutil.copy(built, copy)
        flip(copy, int(place), int(rng.integers(1, 256)))
        try:
            assert same(Pack.open(copy), whole)
        except DamagedPackError:
            noticed += 1
    assert noticed > 150


@pytest.mark.parametrize("size", [0, 1, 8, 500, 5000, 30_000])
def test_a_pack_that_was_cut_short_is_built_again_and_said(
    size: int, built: Path, config: DataConfig
) -> None:
    whole = built.read_bytes()
    built.write_bytes(whole[:size])
    again = open_pack(config)
    assert again.rebuilt is not None
    assert str(built) in again.rebuilt
    assert len(built.read_bytes()) == len(whole)
    assert open_pack(config).rebuilt is None


def test_a_flipped_pixel_is_built_again(built: Path, config: DataConfig) -> None:
    pixels = open_pack(config).images.copy()
    flip(built, place_of_pixels(built))
    again = open_pack(config)
    assert "is damaged" in (again.rebuilt or "")
    assert (again.images == pixels).all()


def test_the_pack_of_other_images_is_not_taken_for_this_one(
    built: Path, config: DataConfig, write_images: WriteImages
) -> None:
    write_images("elm", 5)
    other = open_pack(config)
    shutil.copy(built, other.path)
    again = open_pack(config)
    assert "the pack of other images" in (again.rebuilt or "")
    assert again.classes == ["ash", "elm", "oak"]


def test_pixels_are_read_once_after_a_copy_and_not_at_every_opening(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr(
        pack_file, "_pixels_are_whole", lambda images, _: not read.append(len(images))
    )
    wait_for_the_disk()
    Pack.open(built)
    assert read == []
    copy = tmp_path / built.name
    shutil.copy(built, copy)
    for _ in range(2):
        Pack.open(copy)
        wait_for_the_disk()
    assert read == [7]


def test_what_is_written_while_a_pack_comes_to_the_disk_is_noticed(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / built.name
    shutil.copy(built, copy)
    place, sync = place_of_pixels(built), os.fsync
    wait_for_the_disk()
    monkeypatch.setattr(os, "fsync", lambda file: (sync(file), flip(copy, place)))
    Pack.open(copy)
    wait_for_the_disk()
    with pytest.raises(DamagedPackError):
        Pack.open(copy)


def test_a_node_whose_pack_is_damaged_is_supplied_again(
    built: Path, config: DataConfig, tmp_path: Path
) -> None:
    good = tmp_path / "good"
    shutil.copy(built, good)
    flip(built, place_of_pixels(built))
    pack = reopen_pack(config, built.name, lambda path: shutil.copy(good, path))
    assert built.read_bytes() == good.read_bytes()
    assert len(pack.names) == 7


def test_what_was_supplied_damaged_is_not_trained_on(
    built: Path, config: DataConfig, tmp_path: Path
) -> None:
    flip(built, place_of_pixels(built))
    bad = tmp_path / "bad"
    shutil.move(built, bad)
    with pytest.raises(UserError, match="is damaged"):
        reopen_pack(config, built.name, lambda path: shutil.copy(bad, path))


def test_a_folder_in_the_place_of_a_pack_is_named(built: Path, config: DataConfig) -> None:
    built.unlink()
    built.mkdir()
    with pytest.raises(UserError, match=r"data\.cache: .*is not a regular file"):
        open_pack(config)


def test_a_pack_of_which_images_were_left_out_is_whole_too(
    write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    small_folder(write_images)
    (folder / "ash" / "1.png").write_bytes(b"")
    path = open_pack(config.model_copy(update={"max_bad_fraction": 0.5})).path
    os.utime(path)
    assert len(Pack.open(path).names) == 6


def test_nothing_is_built_where_it_must_not_be(
    write_images: WriteImages, config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_folder(write_images)
    monkeypatch.setattr(pack_module, "build_pack", None)
    with pytest.raises(UserError, match=r"holds no pack of .* --data .* has it built"):
        open_pack(config, build=False)
    with pytest.raises(UserError, match="is not downloaded"):
        open_pack(config.model_copy(update={"source": "inaturalist-12k"}), build=False)
