from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from inat_ray.config.experiment import DataConfig
from inat_ray.data.dataset import open_dataset
from inat_ray.data.near_duplicates import near_duplicates


@pytest.fixture
def photographs(tmp_path) -> dict[str, Image.Image]:
    """Six pictures of soft shapes, three a class, all for training; files below tmp_path/d."""
    rng = np.random.default_rng(0)
    found = {}
    for name in ("ash/0", "ash/1", "ash/2", "oak/0", "oak/1", "oak/2"):
        pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        found[name] = Image.fromarray(pixels).resize((120, 90), Image.Resampling.BICUBIC)
        save(found[name], tmp_path / "d" / "train" / f"{name}.png")
    for label in ("ash", "oak"):
        pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels).resize((120, 90), Image.Resampling.BICUBIC)
        save(picture, tmp_path / "d" / "val" / label / "new.png")
    return found


def save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def pairs(tmp_path: Path) -> set[frozenset[str]]:
    """The names of the pairs that are found."""
    config = DataConfig(
        source=str(tmp_path / "d"), cache=str(tmp_path / "c"), image_size=32, split_seed=1
    )
    data = open_dataset(config)
    names = data.pack.names
    return {frozenset({names[p.first], names[p.second]}) for p in near_duplicates(data)}


def test_pictures_that_differ_are_no_pair(photographs, tmp_path):
    assert pairs(tmp_path) == set()


def test_scaled_compressed_mirrored_and_brighter_copies_are_found(photographs, tmp_path):
    test = tmp_path / "d" / "val"
    save(photographs["ash/0"].resize((70, 52)), test / "ash" / "small.png")
    save(photographs["ash/1"], test / "ash" / "poor.jpg")
    save(ImageOps.mirror(photographs["oak/0"]), test / "oak" / "mirrored.png")
    save(photographs["oak/1"].point(lambda value: 20 + value * 0.8), test / "oak" / "paler.png")
    assert pairs(tmp_path) == {
        frozenset({"train/ash/0.png", "test/ash/small.png"}),
        frozenset({"train/ash/1.png", "test/ash/poor.jpg"}),
        frozenset({"train/oak/0.png", "test/oak/mirrored.png"}),
        frozenset({"train/oak/1.png", "test/oak/paler.png"}),
    }


def test_copies_on_one_side_are_told_only_if_their_classes_differ(photographs, tmp_path):
    folder = tmp_path / "d" / "train"
    small = photographs["ash/0"].resize((70, 52))
    save(small, tmp_path / "d" / "val" / "ash" / "one.png")
    save(small.resize((68, 51)), tmp_path / "d" / "val" / "ash" / "two.png")
    save(photographs["ash/1"].resize((70, 52)), folder / "oak" / "other.png")
    assert pairs(tmp_path) == {
        frozenset({"train/ash/0.png", "test/ash/one.png"}),
        frozenset({"train/ash/0.png", "test/ash/two.png"}),
        frozenset({"train/ash/1.png", "train/oak/other.png"}),
    }


def test_pictures_of_one_color_are_like_no_other(photographs, tmp_path):
    for role in ("train", "val"):
        save(Image.new("RGB", (60, 60), (90, 90, 90)), tmp_path / "d" / role / "ash" / "gray.png")
        save(Image.new("RGB", (60, 60), (10, 90, 9)), tmp_path / "d" / role / "oak" / "green.png")
    assert pairs(tmp_path) == set()
