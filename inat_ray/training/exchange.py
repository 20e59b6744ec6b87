"""Where a driver and its data-parallel workers meet: orders go one way, answers the other.

An order says all that is to be done, an epoch of a job from a checkpoint on, so a worker that
was started in another's place finds the outstanding order and needs to know nothing else.

This module imports neither PyTorch nor Ray: its process is light.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Status:
    """What has become of an order."""

    answer: Any
    """None: there is none yet."""
    attempts: int
    """How often workers have begun it."""
    error: str | None
    """The last that one of them met with."""


class Exchange:
    """The outstanding order, and what is known of it; an actor whose methods wait without cost."""

    def __init__(self) -> None:
        self._number = 0
        self._order: Any = None
        self._answer: Any = None
        self._attempts = 0
        self._error: str | None = None
        self._controller: Any = None
        self._news = asyncio.Condition()

    async def give(self, order: Any) -> int:
        """The driver's: replaces the order; returns its number, counted from 1."""
        async with self._news:
            self._number += 1
            self._order = order
            self._answer, self._attempts, self._error = None, 0, None
            self._news.notify_all()
            return self._number

    async def take(self, *, after: int, rank: int) -> tuple[int, Any]:
        """A worker's: the order, as soon as there is one that is newer than number `after`."""
        async with self._news:
            await self._news.wait_for(lambda: self._number > after)
            self._attempts += rank == 0
            self._news.notify_all()
            return self._number, self._order

    async def answer(self, number: int, answer: Any) -> None:
        """A worker's: what came of an order; of an older one it is dropped."""
        async with self._news:
            if number == self._number:
                self._answer = answer
                self._news.notify_all()

    async def note_error(self, error: str) -> None:
        """A worker's last words on the outstanding order.

        The first of several ranks' is kept: the others follow from it.
        """
        async with self._news:
            self._error = self._error or error

    async def status(self, number: int, *, seconds: float) -> Status:
        """The driver's: the status of the order as soon as it is answered, or after `seconds`."""
        async with self._news:
            with suppress(TimeoutError):  # the status says that there is no answer
                waiting = self._news.wait_for(lambda: self._answer is not None)
                await asyncio.wait_for(waiting, timeout=seconds)
            assert number == self._number
            return Status(self._answer, self._attempts, self._error)

    async def controller_is(self, handle: Any) -> None:
        """Of Ray Train's controller, so that the driver can end it at once."""
        self._controller = handle

    async def controller(self) -> Any:
        return self._controller
