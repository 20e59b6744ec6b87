"""Ways in which a file goes bad, each a function of a random generator and the file's bytes."""

import random
import re
import threading
from collections.abc import Callable

from inat_ray.data import pack_file

Damage = Callable[[random.Random, bytes], bytes]

ODD = [
    "NaN",
    "1e999",
    "-1",
    "null",
    '"x"',
    "[]",
    "{}",
    "true",
    "0.5",
    "9" * 400,
    "[" * 5000,
    "!!int x",
]

NUMBER = re.compile(rb"(?<![\w.])-?\d+(\.\d+)?(e-?\d+)?(?![\w.])")


def flipped(rng: random.Random, content: bytes) -> bytes:
    """One to eight bits."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def without_a_part(rng: random.Random, content: bytes) -> bytes:
    start, end = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[:start] + content[end:]


def with_zeros(rng: random.Random, content: bytes) -> bytes:
    """As after a power failure."""
    start = rng.randrange(len(content))
    length = min(rng.choice([1, 64, 512, 4096]), len(content) - start)
    return content[:start] + bytes(length) + content[start + length :]


def with_noise(rng: random.Random, content: bytes) -> bytes:
    start = rng.randrange(len(content) + 1)
    return content[:start] + rng.randbytes(rng.choice([1, 7, 300])) + content[start:]


def doubled(rng: random.Random, content: bytes) -> bytes:
    start, end = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[:end] + content[start:end] + content[end:]


def of_noise(rng: random.Random, content: bytes) -> bytes:
    return rng.randbytes(rng.choice([0, 1, 9, 1000]))


def odd_number(rng: random.Random, content: bytes) -> bytes:
    """A number in a text becomes something else; noise where there is none."""
    places = list(NUMBER.finditer(content[:100_000]))
    if not places:
        return with_noise(rng, content)
    start, end = rng.choice(places).span()
    return content[:start] + rng.choice(ODD).encode() + content[end:]


def without_a_line(rng: random.Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return b"".join(lines)


def with_lines_swapped(rng: random.Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    rng.shuffle(lines)
    return b"".join(lines)


DAMAGES: list[Damage] = [
    flipped,
    cut,
    without_a_part,
    with_zeros,
    with_noise,
    doubled,
    of_noise,
    odd_number,
    without_a_line,
    with_lines_swapped,
]


def damaged(content: bytes, *, seed: int) -> bytes:
    """The bytes after a damage that the seed chooses; all ten have their turn."""
    return DAMAGES[seed % len(DAMAGES)](random.Random(seed), content)


def wait_for_the_disk() -> None:
    """Waits until packs are marked as whole: one that is damaged at that moment goes unseen."""
    for thread in threading.enumerate():
        if thread.name == pack_file.MARKING:
            thread.join()
