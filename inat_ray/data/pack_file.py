"""The file of a pack, and the checks that tell a whole pack from a cut, altered or foreign one.

    pixels      n x S x S x 3 bytes, RGB
    about       one line of JSON: the classes, the images' names, those left out, ...
    facts       n records of `FACTS`
    checksum    32 bytes: SHA-256 of the file's name, `about` and `facts`
    size        8 bytes: of `about` and `facts`

The pixels come first, at a known size, so that many processes can decode into them where they lie;
only then is it known which images had to be left out. So the index comes last, and is found from
the end, as in a zip file. There is nothing here to unpickle.

The checksum is verified at every opening. It covers the name, since a whole pack of other images
would otherwise pass. The pixels, which may be gigabytes, have a CRC an image, verified only if the
file has another modification time than its index says: when it is new or a copy, or when somebody
wrote to it. A write sets the time, so only what the disk itself damages goes unseen.
"""

import hashlib
import json
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inat_ray.config.errors import UserError
from inat_ray.data.spans import FACTS, crc
from inat_ray.storage.disk import remove

SUFFIX = ".pack"

NAME = re.compile(r"[0-9a-f]{24}\.(pack|arrow)")
"""Names of packs, those of earlier versions included; nothing else may be cleaned up."""

LEFT_OVER = re.compile(r"\.[0-9a-f]{32}\.partial|[0-9a-f]{24}\.(building|partial)")
"""Names of what killed builds and transfers leave, those of earlier versions too."""

TRAILER = 32 + 8

MARKING = "pack-on-disk"
"""Name of the thread that waits for the disk."""


class DamagedPackError(UserError):
    """A file is not a pack, or not a whole one, or the pack of other images."""


def append_index(path: Path, about: dict[str, Any], facts: NDArray[Any], *, identity: str) -> None:
    """Completes a file that holds the pixels. `identity`: its final name without the suffix."""
    # The index holds the modification time that the file is to have once it is safe on the disk: in
    # whole seconds, which every file system keeps, and one that it does not have yet.
    built = path.stat().st_mtime_ns // 10**9 - 1
    index = json.dumps(about | {"built": built}).encode() + b"\n" + facts.tobytes()
    with path.open("ab") as file:
        file.write(index + _checksum(identity, index) + len(index).to_bytes(8, "little"))


def read_pack(path: Path) -> tuple[dict[str, Any], NDArray[Any], NDArray[np.uint8]]:
    """Returns about, facts (n,) and the mapped images (n, S, S, 3).

    Raises DamagedPackError for a pack that has to be built again.
    """
    if not path.is_file():
        raise UserError(
            f"data.cache: {path}: is not a regular file; remove it so that the pack can be built"
        )
    try:
        about, facts, images = _parsed(np.asarray(np.memmap(path, mode="r")), identity=path.stem)
        checked, wanted = path.stat().st_mtime_ns, about["built"] * 10**9
        if checked != wanted:
            if not _pixels_are_whole(images, facts["crc"]):
                raise ValueError("other pixels")
            marking = partial(_mark_once_on_disk, path, checked, wanted)
            threading.Thread(target=marking, name=MARKING).start()
    except (LookupError, TypeError, ValueError):
        # A cut or altered file fails at any step; which one tells a person nothing.
        raise DamagedPackError(f"{path}: is damaged, or the pack of other images") from None
    except OSError as error:
        raise UserError(f"data.cache: {path}: cannot be read: {error.strerror}") from None
    return about, facts, images


def remove_left_overs(folder: Path) -> None:
    """Removes what killed builds left in a folder of packs; to be called under its lock."""
    for path in folder.iterdir():
        if LEFT_OVER.fullmatch(path.name):
            remove(path)


def _parsed(
    content: NDArray[np.uint8], *, identity: str
) -> tuple[dict[str, Any], NDArray[Any], NDArray[np.uint8]]:
    """Reads the file's parts from its end. Raises LookupError, TypeError or ValueError."""
    end = len(content) - TRAILER
    begin = end - int.from_bytes(content[-8:].tobytes(), "little")
    index = content[max(0, begin) : max(0, end)].data
    if begin < 0 or _checksum(identity, index) != content[end:-8].tobytes():
        raise ValueError("another checksum")
    line, _, records = index.tobytes().partition(b"\n")
    about, facts = json.loads(line), np.frombuffer(records, FACTS)
    return about, facts, content[:begin].reshape(len(facts), about["side"], about["side"], 3)


def _checksum(identity: str, index: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(f"{identity}\n".encode())
    digest.update(index)
    return digest.digest()


def _pixels_are_whole(images: NDArray[np.uint8], expected: NDArray[np.uint32]) -> bool:
    def is_whole(rows: NDArray[np.int64]) -> bool:
        return all(crc(images[row]) == expected[row] for row in rows)

    spans = np.array_split(np.arange(len(images)), os.cpu_count() or 1)
    with ThreadPoolExecutor(len(spans)) as pool:
        return all(pool.map(is_whole, spans))


def _mark_once_on_disk(path: Path, checked: int, wanted: int) -> None:
    """Sets the modification time that says that the pixels need no check: not even a power cut
    leaves half a pack with it. Nobody waits for the disk but the end of the process.

    Not if anybody has written to the file since it was checked. Without the right to set it, each
    opening checks again.
    """
    with suppress(OSError), path.open("rb") as file:
        os.fsync(file.fileno())
        if os.fstat(file.fileno()).st_mtime_ns == checked:
            os.utime(file.fileno(), ns=(wanted, wanted))
