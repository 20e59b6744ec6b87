"""What tells that a pack is whole, and the one that its name says.

Its metadata holds a checksum of its name and of all that it says of the images, a CRC of each
image's pixels among that. Those are read at every opening; the pixels, which may be gigabytes,
where the file has another time than the pack names: after a copy, or when somebody wrote to it.
"""

import hashlib
import json
import mmap
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from inat_ray.config.errors import UserError

CHECKSUM = b"checksum"
"""Of the metadata."""

BLANK = b"the checksum comes here once every image has been decoded.......".ljust(64)
"""As long as what takes its place, and nothing that could stand in a pack otherwise."""


class DamagedPackError(UserError):
    """A file is no pack, not a whole one, or the pack of other images."""


def seal(path: Path, *, identity: str) -> None:
    """Writes the checksum into a pack that is complete otherwise and still has the blank.

    `identity`: the file's name, without its ending, from now on.
    """
    about, batch = _read(path)
    checksum = _checksum(about, batch, identity=identity)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        # The schema stands before the columns and again after them.
        for begin in (content.find(BLANK), content.rfind(BLANK)):
            content[begin : begin + len(BLANK)] = checksum
    _mark_as_checked(path, about)


def read_sealed(path: Path) -> tuple[dict[str, Any], pa.RecordBatch]:
    """What a pack says of itself, and its columns. Raises DamagedPackError."""
    if not path.is_file():
        raise UserError(
            f"data.cache: {path}: is not a regular file; remove it so that the pack can be built"
        )
    try:
        about, batch = _read(path)
        expected = _checksum(about, batch, identity=path.stem)
        whole = batch.schema.metadata[CHECKSUM] == expected
        if whole and path.stat().st_mtime_ns != _time_in(about):
            whole = _pixels_are_whole(batch, side=about["side"])
            if whole:
                _mark_as_checked(path, about)
    except (pa.ArrowException, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise DamagedPackError(f"{path}: is no pack that can be read: {error}") from None
    except OSError as error:
        if error.errno is None:  # Arrow's, of places in the file that are not there
            raise DamagedPackError(f"{path}: is no pack that can be read: {error}") from None
        raise UserError(f"data.cache: {path}: cannot be read: {error.strerror}") from None
    if not whole:
        raise DamagedPackError(f"{path}: is damaged, or the pack of other images")
    return about, batch


def pixels_of(batch: pa.RecordBatch, *, side: int) -> NDArray[np.uint8]:
    """(n, side, side, 3), mapped."""
    flat = np.frombuffer(batch.column("image").buffers()[1], dtype=np.uint8)
    return flat[: batch.num_rows * side * side * 3].reshape(-1, side, side, 3)


def crc(image: NDArray[np.uint8]) -> int:
    """Of an image's pixels: 8 microseconds at 80 px, outside the GIL."""
    return zlib.crc32(image.data)


def _read(path: Path) -> tuple[dict[str, Any], pa.RecordBatch]:
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    batch = reader.get_batch(0)
    batch.validate()
    return json.loads(batch.schema.metadata[b"pack"]), batch


def _checksum(about: dict[str, Any], batch: pa.RecordBatch, *, identity: str) -> bytes:
    """64 hexadecimal digits."""
    digest = hashlib.sha256(json.dumps([identity, about, batch.num_rows]).encode())
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        digest.update(f"\n{name} {column.type}\n".encode())
        for buffer in column.buffers() if name != "image" else ():
            if buffer is not None:
                digest.update(buffer)
    return digest.hexdigest().encode()


def _pixels_are_whole(batch: pa.RecordBatch, *, side: int) -> bool:
    images = pixels_of(batch, side=side)
    expected = np.frombuffer(batch.column("crc").buffers()[-1], dtype=np.uint32)
    spans = np.array_split(np.arange(len(images)), os.cpu_count() or 1)
    with ThreadPoolExecutor(len(spans)) as pool:
        return all(pool.map(lambda rows: all(crc(images[i]) == expected[i] for i in rows), spans))


def _mark_as_checked(path: Path, about: dict[str, Any]) -> None:
    """A cache that cannot be written to is checked each time."""
    with suppress(OSError):
        os.utime(path, ns=(_time_in(about),) * 2)


def _time_in(about: dict[str, Any]) -> int:
    """In nanoseconds; whole seconds, which every file system keeps."""
    return int(about["built"]) * 10**9
