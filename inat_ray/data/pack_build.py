"""Building a pack: its whole file is laid out, then filled where it lies by all cores."""

import hashlib
import io
import json
import math
import mmap
import os
import re
import shutil
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data.decode import Fit, UndecodableError
from inat_ray.data.item import Item
from inat_ray.data.pack_seal import BLANK, CHECKSUM, crc, seal
from inat_ray.data.progress import tracked
from inat_ray.data.sources import Source
from inat_ray.storage.disk import remove

Number = TypeVar("Number", np.int64, np.uint32, np.float64)

TOGETHER = 16
"""Images that a thread decodes before it looks for more: for small ones that is faster."""

DIGEST_LENGTH = 64

BUILDING = re.compile(r"[0-9a-f]{24}\.building")
"""What builds call their folders; others are somebody's own."""


@dataclass(frozen=True)
class Quarantined:
    """An image that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class _Columns:
    """What is found out of each of n images, named as in the file, which may lie under it."""

    image: NDArray[np.uint8]
    """(n, S, S, 3)."""
    digest: NDArray[np.bytes_]
    """(n,), hexadecimal."""
    channel_sums: NDArray[np.float64]
    """(n, 3)."""
    channel_square_sums: NDArray[np.float64]
    """(n, 3)."""
    crc: NDArray[np.uint32]
    """(n,), of the pixels."""

    @classmethod
    def blank(cls, count: int, *, side: int) -> "_Columns":
        return cls(
            image=_hole((count, side, side, 3)),
            digest=np.full(count, b"0" * DIGEST_LENGTH),
            channel_sums=np.zeros((count, 3)),
            channel_square_sums=np.zeros((count, 3)),
            crc=np.zeros(count, np.uint32),
        )

    def first(self, count: int) -> "_Columns":
        return _Columns(**{name: column[:count] for name, column in vars(self).items()})

    def move(self, row: int, *, to: int) -> None:
        for column in vars(self).values():
            column[to] = column[row]


def build_pack(source: Source, *, config: DataConfig, path: Path, progress: bool) -> None:
    """Lays out the whole file with empty columns and fills these where they are.

    So the pixels are written once, and need their room on the disk once; only where images are
    left out, which is rare, is what remains written anew.
    """
    for left_over in path.parent.glob("*.building"):  # by builds that were killed
        if BUILDING.fullmatch(left_over.name):
            remove(left_over)
    scratch = path.with_suffix(".building")
    scratch.mkdir()
    try:
        pack, count = scratch / "pack", len(source.items)
        _check_room(scratch, count=count, config=config)
        blank = _Columns.blank(count, side=config.pack_side)
        with _FileWithHole(pack, hole=blank.image) as file:
            _write(_record_batch(source.items, blank, source=source, config=config), file)
        columns = _columns_in(pack, like=blank)
        reasons = _decode_all(source, columns=columns, fit=config.fit, progress=progress)
        if any(reasons):
            pack = scratch / "kept"
            _write_kept(source, columns=columns, reasons=reasons, config=config, path=pack)
        seal(pack, identity=path.stem)
        _bring_to_disk(pack)
        pack.replace(path)
    finally:
        # A first pack, of which images were left out, is still mapped: NFS keeps a name for it.
        shutil.rmtree(scratch, ignore_errors=True)


def _check_room(folder: Path, *, count: int, config: DataConfig) -> None:
    """Raises UserError where the pixels of that many images have no room."""
    size, free = count * config.pack_side**2 * 3, shutil.disk_usage(folder).free
    if free <= size:
        raise UserError(
            f"data.cache: {config.cache}: has {free / 1e9:.1f} GB free, building the pack needs"
            f" {size / 1e9:.1f} GB; free some, choose another data.cache or a smaller"
            " data.image_size"
        )


class _FileWithHole(io.FileIO):
    """A new file, in which there is room for an array instead of the array."""

    def __init__(self, path: Path, *, hole: NDArray[np.uint8]) -> None:
        super().__init__(path, "w")
        self._hole = hole.ctypes.data

    def write(self, data: Any) -> int:
        if not (isinstance(data, pa.Buffer) and data.address == self._hole):
            return super().write(data)
        if hasattr(os, "posix_fallocate"):  # a disk that fills up is an error here, SIGBUS later
            os.posix_fallocate(self.fileno(), self.tell(), data.size)
        self.seek(data.size, os.SEEK_CUR)
        return int(data.size)


def _hole(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Zeros that cannot be written to. They take no memory, so there may be more of them than
    the machine has: np.zeros is refused that."""
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    zeros = mmap.mmap(-1, math.prod(shape), flags=private, prot=mmap.PROT_READ)
    return np.frombuffer(zeros, dtype=np.uint8).reshape(shape)


def _columns_in(path: Path, *, like: _Columns) -> _Columns:
    """The columns of a pack's file, mapped: what is written to them is written to the file."""
    file = pa.memory_map(str(path))
    begin = file.read_buffer(1).address
    batch = pa.ipc.open_file(file).get_batch(0)
    columns = {}
    for name, column in vars(like).items():
        values = batch.column(name).buffers()[-1]
        columns[name] = np.memmap(
            path, column.dtype, mode="r+", offset=values.address - begin, shape=column.shape
        )
    return _Columns(**columns)


def _decode_all(source: Source, *, columns: _Columns, fit: Fit, progress: bool) -> list[str | None]:
    """Fills the columns, on all cores: Pillow works outside the GIL. Returns why an image could
    not be decoded, None for the others."""
    decode = partial(_decode_some, source, columns, fit)
    count = len(columns.image)
    spans = [range(i, min(i + TOGETHER, count)) for i in range(0, count, TOGETHER)]
    pool = ThreadPoolExecutor(os.cpu_count())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of damaged EXIF in pictures that are whole
        try:
            batches = tracked(
                pool.map(decode, spans),
                "decoding",
                total=count,
                unit="images",
                units=len,
                shown=progress,
            )
            return list(chain.from_iterable(batches))
        finally:
            pool.shutdown(cancel_futures=True)


def _decode_some(source: Source, columns: _Columns, fit: Fit, rows: range) -> list[str | None]:
    """Fills the rows; returns for each the reason where that cannot be."""
    reasons = [_decode_one(source, columns, fit, row) for row in rows]
    span = slice(rows.start, rows.stop)
    sums, square_sums = _channel_sums(columns.image[span])
    columns.channel_sums[span], columns.channel_square_sums[span] = sums, square_sums
    columns.crc[span] = [crc(image) for image in columns.image[span]]
    return reasons


def _decode_one(source: Source, columns: _Columns, fit: Fit, row: int) -> str | None:
    try:
        content = source.content(row)
        columns.image[row] = source.square(content, side=columns.image.shape[1], fit=fit)
    except UndecodableError as error:
        return str(error)
    columns.digest[row] = hashlib.sha256(content).hexdigest()
    return None


def _channel_sums(images: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, S, S, 3) -> sums and sums of squares of the values 0 to 1 by channel, each (n, 3).

    Added up in integers, first by column: without a copy, and outside the GIL. At 80 px 0.01 ms
    an image, by Pillow's histogram 0.04 ms and everything else waited.
    """
    count, side = images.shape[:2]
    lines = images.reshape(count, side, side * 3)
    sums = np.add.reduce(lines, axis=1, dtype=np.uint32)
    square_sums = np.einsum("nij,nij->nj", lines, lines, dtype=np.uint32)
    by_channel = [each.reshape(count, side, 3).sum(axis=1) for each in (sums, square_sums)]
    return by_channel[0] / 255, by_channel[1] / 255**2


def _write_kept(
    source: Source,
    *,
    columns: _Columns,
    reasons: Sequence[str | None],
    config: DataConfig,
    path: Path,
) -> None:
    """A pack of the images that could be decoded, whose rows of `columns` are moved together."""
    quarantined = [
        Quarantined(name=item.name, reason=reason)
        for item, reason in zip(source.items, reasons, strict=True)
        if reason is not None
    ]
    kept = [row for row, reason in enumerate(reasons) if reason is None]
    check_quarantined(quarantined, good=len(kept), config=config)
    _check_room(path.parent, count=len(kept), config=config)
    for to, row in enumerate(kept):
        if to != row:
            columns.move(row, to=to)
    items = [source.items[row] for row in kept]
    batch = _record_batch(
        items, columns.first(len(kept)), source=source, config=config, quarantined=quarantined
    )
    with path.open("wb") as file:
        _write(batch, file)


def check_quarantined(quarantined: Sequence[Quarantined], *, good: int, config: DataConfig) -> None:
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


def _record_batch(
    items: Sequence[Item],
    columns: _Columns,
    *,
    source: Source,
    config: DataConfig,
    quarantined: Sequence[Quarantined] = (),
) -> pa.RecordBatch:
    arrays = {
        "image": _image_column(columns.image),
        "label": _number_column([item.label for item in items], np.int64),
        "name": _text_column([item.name for item in items]),
        "role": _text_column([item.role for item in items]),
        "digest": _text_column(columns.digest.astype(str).tolist()),
        "channel_sums": _channel_column(columns.channel_sums),
        "channel_square_sums": _channel_column(columns.channel_square_sums),
        "crc": _number_column(columns.crc, np.uint32),
    }
    about = {
        "built": int(time.time()),
        "side": config.pack_side,
        "classes": list(source.classes),
        "quarantined": [asdict(image) for image in quarantined],
    }
    metadata = {b"pack": json.dumps(about), CHECKSUM: BLANK}
    return pa.record_batch(arrays).replace_schema_metadata(metadata)


def _image_column(pixels: NDArray[np.uint8]) -> pa.FixedSizeBinaryArray:
    """(n, S, S, 3) as n values of S * S * 3 bytes, not copied."""
    kind = pa.binary(int(np.prod(pixels.shape[1:])))
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(pixels), [None, pa.py_buffer(pixels)])


# Columns are made of buffers and read from them: pa.array and to_numpy import pandas, where there
# is one, for which every process of a run would wait half a second and more.


def _number_column(values: Any, dtype: type[Number]) -> pa.Array:
    numbers = np.ascontiguousarray(values, dtype=dtype).reshape(-1)
    kind = pa.from_numpy_dtype(dtype)
    return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(numbers)])


def _text_column(texts: Sequence[str]) -> pa.StringArray:
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(
        len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))
    )


def _channel_column(sums: NDArray[np.float64]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(_number_column(sums, np.float64), 3)


def _write(batch: pa.RecordBatch, file: IO[bytes]) -> None:
    with pa.PythonFile(file, "w") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


def _bring_to_disk(path: Path) -> None:
    """So that not even a power cut leaves half a pack under its name."""
    with path.open("rb") as written:
        os.fsync(written.fileno())
