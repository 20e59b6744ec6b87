"""Spans of images: decoded, measured and written into the file of a pack, by any process.

A process that helps loads this module and little more: no torch, no Ray, and nothing of the program
that asked, which may be a script without `if __name__ == "__main__"`.
"""

import errno
import hashlib
import os
import pickle
import subprocess
import sys
import warnings
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

import inat_ray
from inat_ray.data import decode
from inat_ray.data.decode import Fit, LargePictureError, Square, UndecodableError, decode_square

FACTS = np.dtype(
    [
        ("label", "<i8"),
        ("digest", "S64"),  # hexadecimal SHA-256 of the file: a split keeps copies together by it
        # Sums of values in 0..1, so that the statistics of any subset need no pass over pixels.
        ("channel_sums", "<f8", 3),
        ("channel_square_sums", "<f8", 3),
        ("crc", "<u4"),
    ]
)
"""One image's record. Little-endian on every machine, since packs travel between nodes; no padding,
so that equal facts are equal bytes."""


class Images(Protocol):
    """Images that can be read one by one, from several threads."""

    def content(self, index: int) -> bytes:
        """Returns bytes that are equal exactly if two images are: the file, of a photograph.

        Raises UndecodableError if it cannot be read."""

    def square(self, content: bytes, *, side: int, fit: Fit) -> Square:
        """Returns the pixels of an image from its content. Raises UndecodableError."""

    def part(self, rows: range) -> "Images":
        """Returns a few of them alone, to be handed to another process."""


class Files:
    """Photographs by their files."""

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self.paths = paths

    def content(self, index: int) -> bytes:
        try:
            with FileIO(self.paths[index]) as file:  # fewer calls of the system
                return file.readall()
        except OSError as error:
            raise UndecodableError(f"cannot be read: {error.strerror}") from None

    def square(self, content: bytes, *, side: int, fit: Fit) -> Square:
        return decode_square(content, side=side, fit=fit)

    def part(self, rows: range) -> "Files":
        return Files([str(path) for path in self.paths[rows.start : rows.stop]])  # fast to pickle


@dataclass(frozen=True)
class Decoded:
    """What is known of the images of a span; their pixels are in the file."""

    facts: NDArray[Any]
    """(n,), `FACTS` without labels."""
    reasons: list[str | None]
    """Why an image could not be decoded; None if it was."""


@dataclass(frozen=True)
class Span:
    """Images whose squares are in the file at `path`, in rows that follow on each other."""

    images: Images
    rows: range
    path: str
    side: int
    fit: Fit

    def decode(self) -> Decoded:
        """Decodes into memory that stays in the core's cache, and writes all rows at once.

        At 80 px that takes 9 microseconds an image; through a mapping of the file, where each new
        page is a fault, it took 25.
        """
        count = len(self.rows)
        pixels = np.zeros((count, self.side, self.side, 3), np.uint8)
        decoded = Decoded(np.zeros(count, FACTS), [None] * count)
        for place in range(count):
            try:
                content = self.images.content(place)
                square = self.images.square(content, side=self.side, fit=self.fit)
            except UndecodableError as error:
                decoded.reasons[place] = str(error)
            else:
                pixels[place] = square
                decoded.facts["digest"][place] = hashlib.sha256(content).hexdigest()
        self._write(pixels)
        decoded.facts["channel_sums"], decoded.facts["channel_square_sums"] = channel_sums(pixels)
        decoded.facts["crc"] = [crc(image) for image in pixels]
        return decoded

    def _write(self, pixels: NDArray[np.uint8]) -> None:
        with FileIO(self.path, "r+") as file:
            offset = self.rows.start * pixels[0].nbytes
            if os.pwrite(file.fileno(), pixels.data, offset) < pixels.nbytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Helper:
    """A process that decodes spans.

    It ends with this one, however that ends, since its pipes close. It is in a process group of its
    own, so that Ctrl-C is for this process alone.
    """

    def __init__(self) -> None:
        # With this process's path in place of the search for it, it starts sooner; of the cores it
        # needs one.
        places = [*map(str, sys.path), str(Path(inat_ray.__file__).parents[1])]
        code = f"import sys; sys.path[:] = {places!a}; from {__name__} import serve; serve()"
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        with suppress(BrokenPipeError), self.process:
            pass

    def decode(self, span: Span) -> Decoded:
        """Has a span decoded; decodes it here if it holds large pictures or the process is gone."""
        assert self.process.stdin
        assert self.process.stdout
        try:
            pickle.dump(span, self.process.stdin)
            self.process.stdin.flush()
            decoded: Decoded | None = pickle.load(self.process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            decoded = None
        return decoded or span.decode()


def serve() -> None:
    """Decodes what a `Helper` is asked for; ends, without a word, once nobody can ask.

    An error of the disk ends it too: whoever asked decodes the span itself, and sees it.
    """
    warnings.simplefilter("ignore")
    decode.leaves_large = True
    with suppress(Exception):
        while True:
            span: Span = pickle.load(sys.stdin.buffer)
            try:
                decoded = span.decode()
            except LargePictureError:
                decoded = None
            pickle.dump(decoded, sys.stdout.buffer)
            sys.stdout.buffer.flush()
    os._exit(0)  # would else try to flush what nobody reads


def crc(image: NDArray[np.uint8]) -> int:
    """Returns the checksum of an image's pixels: 8 microseconds at 80 px, outside the GIL."""
    return zlib.crc32(image.data)


def channel_sums(images: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns sums and sums of squares, each (n, 3), of the values 0..1 of (n, S, S, 3) by channel.

    Added up in integers, first by column: without a copy, and outside the GIL. At 80 px that takes
    0.01 ms an image; Pillow's histogram took 0.04 ms while every other thread waited.
    """
    count, side = images.shape[:2]
    lines = images.reshape(count, side, side * 3)
    sums = np.add.reduce(lines, axis=1, dtype=np.uint32)
    square_sums = np.einsum("nij,nij->nj", lines, lines, dtype=np.uint32)
    by_channel = [each.reshape(count, side, 3).sum(axis=1) for each in (sums, square_sums)]
    return by_channel[0] / 255, by_channel[1] / 255**2
