"""The score by which trials are compared and a winner is chosen.

A trial's best epoch is its luckiest, and of many trials the luckiest wins. The best mean of a few
epochs in a row is the same trial with less of the luck: `tests/benchmarks/choice.py` measures both.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from statistics import fmean
from typing import NamedTuple

STRETCH = 5
"""Epochs of a stretch, in a training that has as many."""


class Score(NamedTuple):
    """What a trial is worth; the greater of two is the better trial's."""

    lacking: int
    """0 for a whole stretch, else minus the number of epochs that it lacks: a trial that was judged
    by less stands behind all that were judged by more."""
    mean: float
    """Of the metric, turned so that higher is better."""


def score_of(values: Iterable[float], *, planned: int, stretch: int = STRETCH) -> Score | None:
    """Returns the score of a trial: its best mean of min(stretch, planned) epochs in a row.

    A trial that has not as many gets the best mean of as many in a row as it has. `values` are
    those after each epoch, turned so that higher is better; one that is not finite breaks a
    stretch. None without a finite value.
    """
    return max(_stretches(values, wanted=max(1, min(stretch, planned))), default=None)


def _stretches(values: Iterable[float], *, wanted: int) -> Iterator[Score]:
    """Yields the score of the longest stretch that ends at each epoch."""
    newest: deque[float] = deque(maxlen=wanted)
    for value in values:
        if not math.isfinite(value):
            newest.clear()
            continue
        newest.append(value)
        yield Score(len(newest) - wanted, fmean(newest))
