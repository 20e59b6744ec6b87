"""Who stands where after which epoch: the order that rungs, medians and TPE's levels ask for.

Each update and each question costs a logarithm of the number of trials.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from sortedcontainers import SortedList


@dataclass
class Ranking:
    """Trials by their best score, best first; of equal scores the earlier trial's comes first."""

    _sorted: SortedList = field(default_factory=SortedList)
    """(minus the score, trial)."""
    _scores: dict[int, float] = field(default_factory=dict)

    def put(self, trial: int, score: float | None) -> None:
        """Moves a trial to where its score belongs; None takes it out."""
        if (before := self._scores.pop(trial, None)) is not None:
            self._sorted.remove((-before, trial))
        if score is not None:
            self._scores[trial] = score
            self._sorted.add((-score, trial))

    def score(self, trial: int) -> float:
        """The trial's best score; minus infinity where it has none."""
        return self._scores.get(trial, -math.inf)

    def rank(self, trial: int) -> int | None:
        """Counted from 1; None of a trial without a score."""
        known = trial in self._scores
        return 1 + int(self._sorted.index((-self._scores[trial], trial))) if known else None

    def __iter__(self) -> Iterator[int]:
        return (trial for _, trial in self._sorted)


Place = tuple[float, int]
"""(score, minus the trial's place in order of start): of equal scores the earlier trial's wins."""


def _sorted_lists() -> "defaultdict[int, SortedList]":
    return defaultdict(SortedList)


@dataclass
class Standings:
    """Scores of trials by epoch; higher is better, and all are finite."""

    scores: dict[int, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    """Epoch -> {trial: score}, in the order in which the trials got there."""
    _sorted: "defaultdict[int, SortedList]" = field(default_factory=_sorted_lists)
    _means: "defaultdict[int, SortedList]" = field(default_factory=_sorted_lists)
    """Epoch -> the trials' means of all scores up to it."""
    _mean_of: dict[tuple[int, int], float] = field(default_factory=dict)
    _paused: "defaultdict[int, SortedList]" = field(default_factory=_sorted_lists)

    def add(self, trial: int, epoch: int, score: float) -> None:
        before = self._mean_of.get((trial, epoch - 1), score)
        mean = before + (score - before) / epoch
        self.scores[epoch][trial] = score
        self._sorted[epoch].add((score, -trial))
        self._means[epoch].add(mean)
        self._mean_of[trial, epoch] = mean

    def remove(self, trial: int, epoch: int) -> None:
        """Forgets a score, if there is one."""
        score = self.scores[epoch].pop(trial, None)
        if score is None:
            return
        self._sorted[epoch].remove((score, -trial))
        self._means[epoch].remove(self._mean_of.pop((trial, epoch)))

    def pause(self, trial: int, epoch: int) -> None:
        self._paused[epoch].add((self.scores[epoch][trial], -trial))

    def unpause(self, trial: int, epoch: int) -> None:
        self._paused[epoch].remove((self.scores[epoch][trial], -trial))

    def count(self, epoch: int) -> int:
        """Trials that have a score after `epoch`."""
        return len(self.scores[epoch]) if epoch in self.scores else 0

    def better(self, epoch: int, score: float) -> int:
        """Trials with a score above `score` after `epoch`."""
        ranking = self._sorted[epoch]
        return len(ranking) - int(ranking.bisect_right((score, 0)))

    def best(self, epoch: int, most: int) -> list[int]:
        """The trials with the highest scores after `epoch`, best first."""
        return [-place[1] for place in islice(reversed(self._sorted.get(epoch, ())), most)]

    def median_of_means(self, epoch: int, *, without: int | None = None) -> float:
        """The median, over trials but one, of the mean of all scores up to `epoch`."""
        means, own = self._means[epoch], None
        if without is not None and (without, epoch) in self._mean_of:
            own = means.index(self._mean_of[without, epoch])
        count = len(means) - (own is not None)
        # Places among the others: those from its own on lie one further.
        middle = [k + (own is not None and k >= own) for k in ((count - 1) // 2, count // 2)]
        return float((means[middle[0]] + means[middle[1]]) / 2)

    def best_paused(self, epoch: int) -> tuple[int, int]:
        """(trial, rank among all with a score there, from 0) of the best paused after `epoch`.

        There must be one: see `paused_epochs`.
        """
        place: Place = self._paused[epoch][-1]
        ranking = self._sorted[epoch]
        return -place[1], len(ranking) - 1 - ranking.index(place)

    @property
    def paused_epochs(self) -> list[int]:
        """Epochs after which trials are paused, the last first."""
        return sorted((epoch for epoch, places in self._paused.items() if places), reverse=True)
