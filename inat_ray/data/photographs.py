"""Photographs without labels: files and folders that a person names, decoded in batches."""

import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data.decode import Fit, Square, UndecodableError, decode_square
from inat_ray.data.names import listed
from inat_ray.data.walk import PassedOver, images_below, told


@dataclass(frozen=True)
class Photograph:
    """A file, and its pixels or the reason why it has none."""

    path: Path
    pixels: Square | None = None
    reason: str | None = None


def photographs_in(places: Sequence[Path], passed_over: PassedOver | None = None) -> list[Path]:
    """Returns the named files, and the photographs at any depth in the named folders, each once.

    They are in the order of `places`. A named file counts whatever its name; other files in folders
    are counted in `passed_over`. Raises UserError for a place that is not there, and if there is no
    photograph.
    """
    passed_over = Counter() if passed_over is None else passed_over
    found: dict[Path, None] = {}
    for place in places:
        paths = _in_folder(place, passed_over) if place.is_dir() else [_file(place)]
        found |= dict.fromkeys(paths)
    if not found:
        others = f"; ignored: {told(passed_over)}" if passed_over else ""
        raise UserError(f"{listed([*map(str, places)])}: no photographs found{others}")
    return list(found)


def _in_folder(folder: Path, passed_over: PassedOver) -> list[Path]:
    try:
        return list(images_below(folder, passed_over))
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read: {error.strerror}") from None


def _file(path: Path) -> Path:
    if not path.is_file():
        what = "is neither a file nor a folder" if path.exists() else "there is no such file"
        raise UserError(f"{path}: {what}; a photograph or a folder of them is needed")
    return path


def decoded_batches(
    paths: Sequence[Path], *, config: DataConfig, batch_size: int
) -> Iterator[list[Photograph]]:
    """Yields the photographs in order, as squares of `config.pack_side` pixels, as in a pack.

    While the caller works on one batch the next is decoded, on all cores: two batches are in
    memory, however many photographs there are.
    """
    decode = partial(_decode, side=config.pack_side, fit=config.fit)
    ahead: deque[Iterator[Photograph]] = deque()
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for start in range(0, len(paths), batch_size):
            ahead.append(pool.map(decode, paths[start : start + batch_size]))  # begins at once
            if len(ahead) > 1:
                yield list(ahead.popleft())
        yield from map(list, ahead)
    finally:
        pool.shutdown(cancel_futures=True)


def _decode(path: Path, *, side: int, fit: Fit) -> Photograph:
    try:
        pixels = decode_square(path.read_bytes(), side=side, fit=fit)
    except UndecodableError as error:
        return Photograph(path, reason=str(error))
    except OSError as error:
        return Photograph(path, reason=f"cannot be read: {error.strerror}")
    return Photograph(path, pixels)
