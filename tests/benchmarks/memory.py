"""How much memory this process and those below it take, at most."""

import threading
from pathlib import Path
from typing import Self

SECONDS_BETWEEN = 0.2


class MemoryPeak:
    """The most that was taken while the `with` block ran; Linux alone tells.

    Counted is the proportional set size: a page that several processes share counts once.
    """

    def __init__(self) -> None:
        self.mb = float("nan")
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watch.join()

    def _look(self) -> None:
        peak = 0.0
        while not self._over.wait(SECONDS_BETWEEN):
            peak = max(
                peak, sum(_proportional_mb(each) for each in _with_children(Path("/proc/self")))
            )
        self.mb = peak


def _with_children(process: Path) -> list[Path]:
    found = [process]
    for listing in process.glob("task/*/children"):
        for child in listing.read_text().split():
            found += _with_children(Path("/proc") / child)
    return found


def _proportional_mb(process: Path) -> float:
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # it has ended since it was listed
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))
