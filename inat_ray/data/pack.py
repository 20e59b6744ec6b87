"""The pack: every image decoded once per node, as squares of uint8 in one memory-mapped file.

An Arrow IPC file of one record batch; the images are its fixed-size binary column, which a
process maps and sees as one array without copying. Trials share it through the page cache.

The stored squares have `DataConfig.pack_side` pixels, 1.25 x image_size unless it is set:
evaluation sees the whole square scaled to image_size, random crops are cut from it.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data.decode import Fit, UndecodableError
from inat_ray.data.item import Item
from inat_ray.data.sources import Source, open_source

FORMAT = "1"
"""Part of the fingerprint: packs of another format are built again."""

CHANNELS = ("red", "green", "blue")


@dataclass(frozen=True)
class Quarantined:
    """An image that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Pack:
    """The decoded images of a source; n of them, each S x S."""

    path: Path
    images: NDArray[np.uint8]
    """(n, S, S, 3), RGB, read-only, mapped from the file."""
    labels: NDArray[np.int64]
    """(n,), indices into `classes`."""
    names: list[str]
    roles: list[str]
    """What the layout gave each image for: train, validation, test or nothing."""
    digests: list[str]
    """Equal exactly where the files are."""
    channel_sums: NDArray[np.float64]
    """(n, 3), of pixel values in 0..1."""
    channel_square_sums: NDArray[np.float64]
    """(n, 3), of squared pixel values."""
    classes: list[str]
    quarantined: list[Quarantined]

    @classmethod
    def open(cls, path: Path) -> "Pack":
        """Maps a pack that exists: milliseconds, whatever its size."""
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        batch = reader.get_batch(0)
        about = json.loads(reader.schema.metadata[b"pack"])
        side = about["side"]
        pixels = np.frombuffer(batch.column("image").buffers()[1], dtype=np.uint8)
        return cls(
            path=path,
            images=pixels[: batch.num_rows * side * side * 3].reshape(-1, side, side, 3),
            labels=batch.column("label").to_numpy(),
            names=batch.column("name").to_pylist(),
            roles=batch.column("role").to_pylist(),
            digests=batch.column("digest").to_pylist(),
            channel_sums=_channels(batch, "sum"),
            channel_square_sums=_channels(batch, "square_sum"),
            classes=about["classes"],
            quarantined=[Quarantined(**image) for image in about["quarantined"]],
        )


def open_pack(config: DataConfig, *, progress: bool = False) -> Pack:
    """The pack of `config`, built first where the node has none.

    Of several processes that want the same pack one builds it and the others wait. It is
    written under a temporary name and renamed, so a build that was killed leaves no pack.

    Raises UserError where the source, its images or the cache folder are not usable.
    """
    source = open_source(config)
    folder = _cache_folder(config) / "packs"
    fingerprint = _fingerprint(source, config)
    path = folder / f"{fingerprint}.arrow"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{fingerprint}.lock"):
            if not path.exists():
                _build(source, config=config, path=path, progress=progress)
    return Pack.open(path)


def _fingerprint(source: Source, config: DataConfig) -> str:
    """Equal exactly where source, size and fit are."""
    digest = hashlib.sha256(f"{FORMAT} {config.pack_side} {config.fit}\n".encode())
    for line in (*source.classes, *source.identity()):
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()[:24]


def _cache_folder(config: DataConfig) -> Path:
    folder = Path(config.cache).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"data.cache: {config.cache}: cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"data.cache: {config.cache}: cannot be written to; choose another folder")
    return folder


@dataclass(frozen=True)
class _Decoded:
    """What is known of one image besides its pixels; `reason` where it has none."""

    digest: str = ""
    sums: tuple[float, ...] = (0.0, 0.0, 0.0)
    square_sums: tuple[float, ...] = (0.0, 0.0, 0.0)
    reason: str | None = None


def _build(source: Source, *, config: DataConfig, path: Path, progress: bool) -> None:
    side, count = config.pack_side, len(source.items)
    _check_free_space(path.parent, needed=2 * count * side * side * 3)
    scratch = path.with_suffix(".building")
    shutil.rmtree(scratch, ignore_errors=True)  # what a killed build left
    scratch.mkdir()
    try:
        # A file, not memory: 12,000 images of 280 px are 2.8 GB.
        pixels = np.memmap(
            scratch / "pixels", dtype=np.uint8, mode="w+", shape=(count, side, side, 3)
        )
        decoded = _decode_all(source, pixels=pixels, fit=config.fit, progress=progress)
        quarantined = [
            Quarantined(name=item.name, reason=image.reason)
            for item, image in zip(source.items, decoded, strict=True)
            if image.reason is not None
        ]
        _check_quarantined(quarantined, count=count, config=config)
        kept = [i for i, image in enumerate(decoded) if image.reason is None]
        _close_gaps(pixels, kept)
        _write(
            _record_batch(
                pixels[: len(kept)],
                items=[source.items[i] for i in kept],
                decoded=[decoded[i] for i in kept],
                about={
                    "side": side,
                    "classes": list(source.classes),
                    "quarantined": [asdict(image) for image in quarantined],
                },
            ),
            scratch / "pack",
        )
        (scratch / "pack").replace(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _decode_all(
    source: Source, *, pixels: NDArray[np.uint8], fit: Fit, progress: bool
) -> list[_Decoded]:
    """Every image into its row of `pixels`, on all cores: Pillow works outside the GIL."""
    decode = partial(_decode_one, source, pixels, fit)
    console = Console(stderr=True)
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        return list(
            track(
                pool.map(decode, range(len(pixels))),
                description="decoding",
                total=len(pixels),
                console=console,
                transient=True,
                disable=not (progress and console.is_terminal),
            )
        )
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_one(source: Source, pixels: NDArray[np.uint8], fit: Fit, index: int) -> _Decoded:
    content = source.content(index)
    try:
        square = source.square(content, side=pixels.shape[1], fit=fit)
    except UndecodableError as error:
        return _Decoded(reason=str(error))
    pixels[index] = square
    # Sums of bytes are exact in integers; the division by 255 comes last.
    whole = square.reshape(-1, 3).astype(np.int64)
    return _Decoded(
        digest=hashlib.sha256(content).hexdigest(),
        sums=tuple(whole.sum(axis=0) / 255),
        square_sums=tuple((whole**2).sum(axis=0) / 255**2),
    )


def _check_free_space(folder: Path, *, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"data.cache: {folder}: has {free / 1e9:.1f} GB free, building the pack needs"
            f" {needed / 1e9:.1f} GB; free some, choose another data.cache or a smaller image_size"
        )


def _check_quarantined(
    quarantined: Sequence[Quarantined], *, count: int, config: DataConfig
) -> None:
    if len(quarantined) > config.max_bad_fraction * count:
        some = "; ".join(f"{image.name} ({image.reason})" for image in quarantined[:5])
        raise UserError(
            f"data: {len(quarantined)} of {count} images cannot be read, more than"
            f" data.max_bad_fraction {config.max_bad_fraction:g} allows; the first: {some}"
        )


def _close_gaps(pixels: NDArray[np.uint8], kept: Iterable[int]) -> None:
    for place, index in enumerate(kept):
        if place != index:
            pixels[place] = pixels[index]


def _record_batch(
    pixels: NDArray[np.uint8],
    *,
    items: Sequence[Item],
    decoded: Sequence[_Decoded],
    about: dict[str, Any],
) -> pa.RecordBatch:
    width = int(np.prod(pixels.shape[1:]))
    image = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), len(pixels), [None, pa.py_buffer(pixels)]
    )
    columns = {
        "image": image,
        "label": pa.array([item.label for item in items], pa.int64()),
        "name": pa.array([item.name for item in items]),
        "role": pa.array([item.role for item in items]),
        "digest": pa.array([image.digest for image in decoded]),
    }
    for channel, colour in enumerate(CHANNELS):
        columns[f"sum_{colour}"] = pa.array([image.sums[channel] for image in decoded])
        squares = pa.array([image.square_sums[channel] for image in decoded])
        columns[f"square_sum_{colour}"] = squares
    batch = pa.record_batch(columns)
    return batch.replace_schema_metadata({"pack": json.dumps(about)})


def _write(batch: pa.RecordBatch, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


def _channels(batch: pa.RecordBatch, name: str) -> NDArray[np.float64]:
    columns = [batch.column(f"{name}_{colour}").to_numpy() for colour in CHANNELS]
    return np.stack(columns, axis=1)
