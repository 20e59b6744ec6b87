"""A way of doing something in a process of its own, which stays for the next round."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.sampling import Sampled, memory_mb

Way = Callable[[int], float]
"""Given the number of its round; returns what is measured."""


class Apart:
    """So neither memory nor what one tool sets up for its process is another's.

    A new process is made ready by `make(*args)`, which returns the way; then it takes its turns.
    """

    def __init__(self, make: Callable[..., Way], *args: Any) -> None:
        self._process = ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_make_ready,
            initargs=(make, args),
        )
        self._process.submit(int)  # starts it now, beside the others

    def __call__(self, number: int) -> float:
        return self._process.submit(_take_turn, number).result()

    def peak_memory(self) -> float:
        """MB of the first turn, with the processes that it started."""
        return self._process.submit(_peak_memory).result()

    def close(self) -> None:
        self._process.shutdown()


@dataclass
class _Here:
    """The state of this process, where it is one apart."""

    way: Way | None = None
    peak_mb: float | None = None


_here = _Here()


def _make_ready(make: Callable[..., Way], args: tuple[Any, ...]) -> None:
    # What is started in a spawned process is spawned too; in a script a loader's processes are not.
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
    _here.way = make(*args)


def _take_turn(number: int) -> float:
    assert _here.way is not None
    if _here.peak_mb is not None:
        return _here.way(number)
    with Sampled(memory_mb, seconds=0.2) as memory:
        measured = _here.way(number)
    _here.peak_mb = max(memory.values, default=float("nan"))
    return measured


def _peak_memory() -> float:
    assert _here.peak_mb is not None
    return _here.peak_mb
