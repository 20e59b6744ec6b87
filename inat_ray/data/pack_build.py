"""Builds a pack: takes room for all pixels on the disk, then fills it by all cores at once.

Several processes do, since threads wait for each other: Python runs for 29 % of the time that a
small photograph takes.
"""

import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data.pack_file import append_index
from inat_ray.data.progress import tracked
from inat_ray.data.sources import Source
from inat_ray.data.spans import Decoded, Helper, Span

TOGETHER = 32
"""How many images are decoded before more are asked for: faster for small ones."""

WORTH_A_PROCESS = 1000
"""Images for which one more process is started. A start takes 0.12 s of a core, in which 110 to 360
are decoded."""


@dataclass(frozen=True)
class Quarantined:
    """An image that was left out, and why. An entry of a pack's `about`."""

    name: str
    reason: str


def build_pack(
    source: Source, *, config: DataConfig, path: Path, identity: str, progress: bool
) -> None:
    """Decodes every image straight into the file at `path`, which is renamed to `identity` later.

    So the pixels are written once, and need their room on the disk once. Raises UserError if
    the disk has no room, or too many images cannot be read.
    """
    side = config.pack_side

    def span_of(rows: range) -> Span:
        return Span(source.part(rows), rows, path=str(path), side=side, fit=config.fit)

    with path.open("wb") as file:
        size = len(source.items) * _image_bytes(config)
        _take_room(file.fileno(), size, config=config, path=path)
    facts, reasons = _decode_all(span_of, len(source.items), progress=progress)
    facts["label"] = [item.label for item in source.items]
    items = zip(source.items, reasons, strict=True)
    quarantined = [Quarantined(item.name, reason) for item, reason in items if reason is not None]
    kept = [row for row, reason in enumerate(reasons) if reason is None]
    check_quarantined(quarantined, good=len(kept), config=config)
    if quarantined:
        _close_gaps(path, facts, kept=kept, size=_image_bytes(config))
    about = {
        "side": side,
        "classes": list(source.classes),
        "names": [source.items[row].name for row in kept],
        "roles": [source.items[row].role for row in kept],
        "quarantined": [asdict(image) for image in quarantined],
    }
    append_index(path, about, facts[: len(kept)], identity=identity)


def _close_gaps(path: Path, facts: NDArray[Any], *, kept: list[int], size: int) -> None:
    """Moves the rows that are kept to the front, in the file itself; images have `size` bytes.

    The first one moves first, so nothing is overwritten that is still needed.
    """
    pixels = np.memmap(path, mode="r+").reshape(-1, size)
    for to, row in enumerate(kept):
        if to != row:
            pixels[to], facts[to] = pixels[row], facts[row]
    os.truncate(path, len(kept) * size)


def check_quarantined(quarantined: Sequence[Quarantined], *, good: int, config: DataConfig) -> None:
    """Raises UserError if more images were left out than `data.max_bad_fraction` allows."""
    count = good + len(quarantined)
    some = "; ".join(f"{image.name} ({image.reason})" for image in quarantined[:5])
    if good == 0:
        raise UserError(
            f"data.source: {config.source}: none of {count} images can be read; the first: {some}"
        )
    if len(quarantined) > config.max_bad_fraction * count:
        raise UserError(
            f"data.source: {config.source}: {len(quarantined)} of {count} images cannot be read,"
            f" more than data.max_bad_fraction {config.max_bad_fraction:g} allows;"
            f" the first: {some}"
        )


def _image_bytes(config: DataConfig) -> int:
    return config.pack_side**2 * 3


def _take_room(file: int, size: int, *, config: DataConfig, path: Path) -> None:
    """Gives a file its size. Raises UserError if the disk has no room for it."""
    free = shutil.disk_usage(path.parent).free
    if free <= size:
        raise UserError(
            f"data.cache: {config.cache}: has {free / 1e9:.1f} GB free, building the pack needs"
            f" {size / 1e9:.1f} GB; free some, choose another data.cache or a smaller"
            " data.image_size"
        )
    if hasattr(os, "posix_fallocate"):  # not on macOS
        os.posix_fallocate(file, 0, size)


def _decode_all(
    span_of: Callable[[range], Span], count: int, *, progress: bool
) -> tuple[NDArray[Any], list[str | None]]:
    """Decodes all rows on all cores.

    Returns the facts, and for each image why it could not be decoded, None if it was.
    """
    rows = range(count)
    spans = [rows[start : start + TOGETHER] for start in rows[::TOGETHER]]
    with _cores(count) as (pool, ways):

        def decode(rows: range) -> Decoded:
            way = ways.get()
            try:
                return way(span_of(rows))
            finally:
                ways.put(way)

        batches = tracked(
            pool.map(decode, spans),
            "decoding",
            total=count,
            unit="images",
            units=lambda decoded: len(decoded.reasons),
            shown=progress,
        )
        done = list(batches)
    facts = np.concatenate([decoded.facts for decoded in done])
    return facts, [reason for decoded in done for reason in decoded.reasons]


@contextmanager
def _cores(
    count: int,
) -> Iterator[tuple[ThreadPoolExecutor, "SimpleQueue[Callable[[Span], Decoded]]"]]:
    """Yields a thread for each core, and as many ways to decode a span: here or in a process."""
    cores = os.cpu_count() or 1
    pool = ThreadPoolExecutor(cores)
    ways: SimpleQueue[Callable[[Span], Decoded]] = SimpleQueue()
    with warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter("ignore")  # Pillow's, about damaged EXIF in pictures that are whole
        helpers = min(cores - 1, count // WORTH_A_PROCESS)
        for number in range(cores):
            ways.put(_helper(stack) if number < helpers else Span.decode)
        # First of all, and an interrupt does not wait for all the rest.
        stack.callback(pool.shutdown, cancel_futures=True)
        yield pool, ways


def _helper(stack: ExitStack) -> Callable[[Span], Decoded]:
    try:
        return stack.enter_context(Helper()).decode
    except OSError:  # the system starts no more processes
        return Span.decode
