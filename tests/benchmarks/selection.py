"""A part of the photographs, so that the benchmark takes as long whatever there is."""

import hashlib
import os
import shutil
import tempfile
from itertools import groupby
from pathlib import Path

from inat_ray.data.sources import images_below


def selected(folder: Path, *, most: int) -> Path:
    """A copy of `folder` with so many of its photographs, or itself where it has no more.

    The same share of every folder, evenly spaced by name; at least one. Made once.
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
    listing = "".join(f"{path} {path.stat().st_size}\n" for path in chosen)
    into = Path(tempfile.gettempdir()) / "inat_ray-selected"
    copy = into / hashlib.sha256(listing.encode()).hexdigest()[:16]
    if not copy.exists():
        begun = copy.with_suffix(f".{os.getpid()}")
        for photograph in chosen:
            target = begun / photograph.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(photograph, target)
        begun.rename(copy)
    return copy


def _evenly(photographs: list[Path], share: float) -> list[Path]:
    count = max(1, round(share * len(photographs)))
    return [photographs[place * len(photographs) // count] for place in range(count)]
