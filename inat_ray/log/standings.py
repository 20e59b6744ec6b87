"""The order of trials after each epoch, which rungs, medians and the levels of TPE ask for.

Each update and each question costs a logarithm of the number of trials. Sorting anew would make a
search of 100,000 trials quadratic: each of its epochs asks for a rank.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from sortedcontainers import SortedList

from inat_ray.log.score import Score


@dataclass
class Ranking:
    """Trials by their score, best first; of equal ones the trial that started first."""

    _sorted: SortedList = field(default_factory=SortedList)
    """(score, -trial), ascending."""
    _scores: dict[int, Score] = field(default_factory=dict)

    def put(self, trial: int, score: Score | None) -> None:
        """Gives a trial its score; None takes it out."""
        if (before := self._scores.pop(trial, None)) is not None:
            self._sorted.remove((before, -trial))
        if score is not None:
            self._scores[trial] = score
            self._sorted.add((score, -trial))

    def score(self, trial: int) -> Score | None:
        return self._scores.get(trial)

    def rank(self, trial: int) -> int | None:
        """Returns the trial's rank, counted from 1; None if it has no score."""
        if trial not in self._scores:
            return None
        return len(self._sorted) - int(self._sorted.index((self._scores[trial], -trial)))

    def __iter__(self) -> Iterator[int]:
        return (-place for _, place in reversed(self._sorted))


def _sorted_lists() -> "defaultdict[int, SortedList]":
    return defaultdict(SortedList)


@dataclass
class Standings:
    """Scores of trials by epoch; higher is better, and all are finite: a NaN has no order.

    Trials are their numbers in order of start.
    """

    scores: dict[int, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    """Epoch -> {trial: score}, in the order in which the trials got there."""
    _sorted: "defaultdict[int, SortedList]" = field(default_factory=_sorted_lists)
    """Epoch -> (score, -trial), ascending: of equal scores, the trial that started first wins."""
    _means: "defaultdict[int, SortedList]" = field(default_factory=_sorted_lists)
    """Epoch -> the trials' means of all scores up to it."""
    _mean_of: dict[tuple[int, int], float] = field(default_factory=dict)
    """(trial, epoch) -> that mean: it is needed for the next one, and to take it out."""
    _paused: "defaultdict[int, SortedList]" = field(default_factory=_sorted_lists)
    """The part of `_sorted` whose trials are paused there."""

    def add(self, trial: int, epoch: int, score: float) -> None:
        # Kept as it goes, since a sum over all epochs would make each epoch cost as many. An epoch
        # whose score was not finite has no mean, and the next one begins anew.
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
        """Counts the trials that have a score after `epoch`."""
        return len(self.scores.get(epoch, ()))

    def better(self, epoch: int, score: float) -> int:
        """Counts the trials with a score above `score` after `epoch`."""
        ranking = self._sorted[epoch]
        # No trial's place is above (score, 0), so this is to the right of all with an equal score.
        return len(ranking) - int(ranking.bisect_right((score, 0)))

    def best(self, epoch: int, most: int) -> list[int]:
        """Returns the trials with the highest scores after `epoch`, best first."""
        return [-place[1] for place in islice(reversed(self._sorted.get(epoch, ())), most)]

    @property
    def highest(self) -> float:
        """The highest score of any trial after any epoch; minus infinity before the first."""
        return max((places[-1][0] for places in self._sorted.values() if places), default=-math.inf)

    def median_of_means(self, epoch: int, *, without: int | None = None) -> float:
        """Returns the median, over trials but one, of the mean of all scores up to `epoch`."""
        means, own = self._means[epoch], None
        if without is not None and (without, epoch) in self._mean_of:
            own = means.index(self._mean_of[without, epoch])
        count = len(means) - (own is not None)
        # The middle of the others, without a copy: from its own on, they lie one place further.
        middle = [k + (own is not None and k >= own) for k in ((count - 1) // 2, count // 2)]
        return float((means[middle[0]] + means[middle[1]]) / 2)

    def best_paused(self, epoch: int) -> tuple[int, int]:
        """Returns the best trial that is paused after `epoch`, and its rank from 0 among all there.

        There must be one: see `paused_epochs`.
        """
        best = self._paused[epoch][-1]
        ranking = self._sorted[epoch]
        return -best[1], len(ranking) - 1 - ranking.index(best)

    @property
    def paused_epochs(self) -> list[int]:
        """Epochs after which trials are paused, the last first."""
        return sorted((epoch for epoch, places in self._paused.items() if places), reverse=True)
