"""Folders of photographs, written on the spot."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inat_ray.config.experiment import DataConfig

WriteImages = Callable[[str, int], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data folder, empty."""
    path = tmp_path / "photographs"
    path.mkdir()
    return path


@pytest.fixture
def write_images(folder: Path) -> WriteImages:
    """Writes that many different pictures, 48 x 40 pixels, into a class folder."""
    rng = np.random.default_rng(0)

    def write(class_folder: str, count: int) -> None:
        (folder / class_folder).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / class_folder / f"{number}.png")

    return write


@pytest.fixture
def config(folder: Path, tmp_path: Path) -> DataConfig:
    return DataConfig(source=str(folder), image_size=32, cache=str(tmp_path / "cache"))


def small_folder(write_images: WriteImages) -> None:
    """Two classes, of four pictures and of three."""
    write_images("ash", 4)
    write_images("oak", 3)
