"""What is looked at again and again while something else runs: memory, a GPU at work."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self


class Sampled:
    """The values that `read` gave while the `with` block ran, one every `seconds`."""

    def __init__(self, read: Callable[[], float], *, seconds: float) -> None:
        self.timed: list[tuple[float, float]] = []
        """When each value was read, as time.time() tells, and the value."""
        self._read, self._seconds = read, seconds
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watch.join()

    def _look(self) -> None:
        while not self._over.wait(self._seconds):
            self.timed.append((time.time(), self._read()))

    @property
    def values(self) -> list[float]:
        return [value for _, value in self.timed]

    def between(self, begin: float, end: float) -> list[float]:
        return [value for at, value in self.timed if begin <= at <= end]


def memory_mb() -> float:
    """Of this process and those below it; Linux alone tells.

    The proportional set size: a page that several processes share counts once.
    """
    return sum(_proportional_mb(process) for process in _with_children(Path("/proc/self")))


def _with_children(process: Path) -> list[Path]:
    found = [process]
    for listing in process.glob("task/*/children"):
        for child in _read(listing).split():
            found += _with_children(Path("/proc") / child)
    return found


def _read(path: Path) -> str:
    """Empty where the process has ended since it was listed."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _proportional_mb(process: Path) -> float:
    lines = _read(process / "smaps_rollup").splitlines()
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))
