"""The score by which trials are compared and a winner is chosen.

A trial's best epoch is its luckiest, and of many trials the luckiest wins. The mean of a few epochs
in a row is the same trial with less of the luck. Of a trial that has just begun they are fewer:
it is compared by what it does now, and need not stand behind poor ones that had time for more.
docs/benchmarks.md has what was measured.
"""

import math
from collections.abc import Sequence
from itertools import takewhile
from statistics import fmean

STRETCH = 5
"""The most epochs of a stretch."""


def stretch_at(epoch: int, *, most: int = STRETCH) -> int:
    """Returns how many epochs up to this one are its stretch: half of them, rounded up, or most."""
    return min(most, (epoch + 1) // 2)


def score_after(newest: Sequence[float], *, epoch: int, stretch: int = STRETCH) -> float | None:
    """Returns what an epoch counts as: the mean of its stretch.

    `newest` are the values up to this epoch, at least `stretch` of them where there are as many,
    turned so that higher is better. One that is not finite breaks a stretch; None if it is the
    newest.
    """
    values = newest[-stretch_at(epoch, most=stretch) :]
    finite = [*takewhile(math.isfinite, reversed(values))]
    return fmean(finite) if finite else None


def score_of(values: Sequence[float], *, stretch: int = STRETCH) -> float | None:
    """Returns a trial's score: the most that one of its epochs counts as; None without any."""
    counted = (
        score_after(values[max(0, epoch - stretch) : epoch], epoch=epoch, stretch=stretch)
        for epoch in range(1, len(values) + 1)
    )
    return max((score for score in counted if score is not None), default=None)
