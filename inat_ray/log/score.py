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

    whole: bool
    """Whether the trial has a whole stretch: it is ahead of all that have none."""
    value: float
    """The best mean of a whole stretch, else the best epoch's; turned so that higher is better."""


def score_of(values: Iterable[float], *, planned: int, stretch: int = STRETCH) -> Score | None:
    """Returns a trial's score: its best mean of min(stretch, planned) epochs in a row.

    A trial without as many in a row stands behind all that have them, by its best epoch: a mean of
    its first few would rank it behind those that have just begun. `values` are those after each
    epoch, turned so that higher is better; one that is not finite breaks a stretch. None without a
    finite value.
    """
    return max(_scores(values, wanted=max(1, min(stretch, planned))), default=None)


def _scores(values: Iterable[float], *, wanted: int) -> Iterator[Score]:
    """Yields what each epoch may make the score."""
    newest: deque[float] = deque(maxlen=wanted)
    for value in values:
        if not math.isfinite(value):
            newest.clear()
            continue
        newest.append(value)
        whole = len(newest) == wanted
        yield Score(whole, fmean(newest) if whole else value)
