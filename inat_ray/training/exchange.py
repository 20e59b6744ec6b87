"""The actor between a driver and its data-parallel workers: orders one way, answers the other.

An order is complete in itself: an epoch of a job, from a checkpoint. A worker that replaces a lost
one takes the outstanding order and needs to know nothing else.

This module imports neither PyTorch nor Ray: its process is light.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Status:
    """The state of an order."""

    answer: Any
    """None until there is one."""
    attempts: int
    """How often workers have begun it."""
    error: str | None
    """The first error that a worker reported; None if none did."""


class Exchange:
    """Holds the outstanding order and its status; an actor whose methods wait without cost."""

    def __init__(self) -> None:
        self._number = 0
        self._order: Any = None
        self._answer: Any = None
        self._attempts = 0
        self._error: str | None = None
        self._controller: Any = None
        self._news = asyncio.Condition()

    async def give(self, order: Any) -> int:
        """Called by the driver: replaces the order, and returns its number, counted from 1."""
        async with self._news:
            self._number += 1
            self._order = order
            self._answer, self._attempts, self._error = None, 0, None
            self._news.notify_all()
            return self._number

    async def take(self, *, after: int, rank: int) -> tuple[int, Any]:
        """Called by a worker: returns the order as soon as its number is above `after`."""
        async with self._news:
            await self._news.wait_for(lambda: self._number > after)
            self._attempts += rank == 0  # the ranks begin an order together: one of them counts
            self._news.notify_all()
            return self._number, self._order

    async def answer(self, number: int, answer: Any) -> None:
        """Called by a worker: keeps the answer to the order; drops one to an older order."""
        async with self._news:
            if number == self._number:
                self._answer = answer
                self._news.notify_all()

    async def note_error(self, error: str) -> None:
        """Called by a worker that fails at the outstanding order.

        The first rank's error is kept: those of the other ranks follow from it.
        """
        async with self._news:
            self._error = self._error or error

    async def status(self, number: int, *, seconds: float) -> Status:
        """Called by the driver: returns the status once there is an answer, or after `seconds`."""
        async with self._news:
            with suppress(TimeoutError):  # the status says that there is no answer
                waiting = self._news.wait_for(lambda: self._answer is not None)
                await asyncio.wait_for(waiting, timeout=seconds)
            assert number == self._number
            return Status(self._answer, self._attempts, self._error)

    async def controller_is(self, handle: Any) -> None:
        """Keeps Ray Train's controller, so that the driver can end it at once."""
        self._controller = handle

    async def controller(self) -> Any:
        return self._controller
