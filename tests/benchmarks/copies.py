"""Copies of the photographs: fewer of them, or enlarged. Each is made once, and kept."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageOps

from inat_ray.data.walk import images_below

SIZE = (800, 600)
LARGE = "800 x 600"
"""The size at which iNaturalist-12K has them."""

QUALITY = 90


def selected(folder: Path, *, most: int) -> Path:
    """A copy with so many of the photographs, or `folder` itself where it has no more.

    The same share of every folder, evenly spaced by name; at least one.
    """
    photographs = list(images_below(folder))
    if len(photographs) <= most:
        return folder
    share = most / len(photographs)
    chosen = [
        photograph
        for _, group in groupby(photographs, key=lambda path: path.parent)
        for photograph in _evenly(list(group), share)
    ]
    return _copied("selected", folder, chosen, write=shutil.copy)


def enlarged(folder: Path) -> Path:
    """A copy whose photographs are JPEGs of 800 x 600 pixels."""
    return _copied("800x600", folder, list(images_below(folder)), write=_write_enlarged)


def _evenly(photographs: list[Path], share: float) -> list[Path]:
    count = max(1, round(share * len(photographs)))
    return [photographs[place * len(photographs) // count] for place in range(count)]


def _copied(
    kind: str, folder: Path, photographs: Sequence[Path], *, write: Callable[[Path, Path], object]
) -> Path:
    """Where the copy of these photographs of `folder` is; under its name it is whole."""
    listing = "".join(f"{path} {path.stat().st_size}\n" for path in photographs)
    name = hashlib.sha256(listing.encode()).hexdigest()[:16]
    copy = Path(tempfile.gettempdir()) / f"inat_ray-{kind}" / name
    if not copy.exists():
        begun = copy.with_suffix(f".{os.getpid()}")
        with ProcessPoolExecutor() as pool:
            place = partial(_place, folder=folder, into=begun, write=write)
            list(pool.map(place, photographs, chunksize=64))
        begun.rename(copy)
    return copy


def _place(
    photograph: Path, *, folder: Path, into: Path, write: Callable[[Path, Path], object]
) -> None:
    target = into / photograph.relative_to(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    write(photograph, target)


def _write_enlarged(photograph: Path, target: Path) -> None:
    with Image.open(photograph) as picture:
        size = SIZE if picture.width >= picture.height else SIZE[::-1]
        large = ImageOps.fit(picture.convert("RGB"), size)
        large.save(target.with_suffix(".jpg"), quality=QUALITY)
