"""Progress of long work: a bar in a terminal, a plain line every ten seconds elsewhere."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from rich import filesize
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

SECONDS_BETWEEN_LINES = 10.0
"""Without a terminal; shorter work leaves no line."""

NOTEBOOK = "JPY_PARENT_PID"
"""Set for a notebook's kernel and what it starts: its cells look like terminals, and cannot redraw
more than a line."""

BYTES = "bytes"
"""The unit whose counts are shown in MB and GB."""

T = TypeVar("T")


def can_redraw(console: Console) -> bool:
    """Whether written lines can be written over: not in a log file, nor in a notebook."""
    is_screen = console.is_terminal and not console.is_dumb_terminal
    return is_screen and not console.is_jupyter and NOTEBOOK not in os.environ


@contextmanager
def waiting(what: str, *, console: Console) -> Iterator[None]:
    """Says what goes on for seconds and cannot be counted: 'starting Ray'.

    A terminal shows that it goes on, and nothing of it stays; elsewhere it is a line.
    """
    if can_redraw(console):
        spinner = "line" if console.options.ascii_only else "dots"
        with console.status(f"[dim]{escape(what)}[/]", spinner=spinner, spinner_style="dim"):
            yield
    else:
        console.print(f"[dim]{escape(what)}[/]", soft_wrap=True)
        yield


def tracked(
    items: Iterable[T],
    what: str,
    *,
    total: int,
    unit: str,
    units: Callable[[T], int] = lambda _: 1,
    shown: bool = True,
    console: Console | None = None,
) -> Iterator[T]:
    """Yields the items, and shows how many units are done of `what`: 'decoding'.

    `units`: how many an item is; `len` if the items are batches.
    """
    with advancing(what, total=total, unit=unit, shown=shown, console=console) as advance:
        for item in items:
            yield item
            advance(units(item))


@contextmanager
def advancing(
    what: str,
    *,
    total: int,
    unit: str,
    done: int = 0,
    shown: bool = True,
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[[int], None]]:
    """Gives a function to call with the number of units that were done since its last call.

    `done`: units of an earlier attempt, which say nothing about the pace; `console`: stderr unless
    given; `clock`: in seconds.
    """
    console = console or Console(stderr=True, force_jupyter=False)
    pace = Pace(done, total, unit, clock)
    if not shown:
        yield lambda _: None
    elif can_redraw(console):
        with Progress(*COLUMNS, console=console, transient=True, expand=True) as bar:
            task = bar.add_task(escape(what), total=total, completed=done, text=pace.text())

            def advance(units: int) -> None:
                pace.done += units
                bar.update(task, completed=pace.done, text=pace.text())

            yield advance
    else:
        yield _lines(console, what, pace)


COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(bar_width=None),
    TextColumn("{task.fields[text]}"),
)


@dataclass
class Pace:
    """How much of some work is done, and how fast. State: `done`."""

    done: int
    total: int
    unit: str
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        self.before, self.begun = self.done, self.clock()

    def text(self) -> str:
        """Returns '1,200/12,000 images, 340/s, about 0:00:31 left'."""
        text = f"{_amount(self.done, self.unit)}/{_amount(self.total, self.unit)}"
        text += "" if self.unit == BYTES else f" {self.unit}"
        new, seconds = self.done - self.before, self.clock() - self.begun
        if new <= 0 or seconds <= 0:
            return text
        text += f", {_amount(new / seconds, self.unit)}/s"
        if self.done >= self.total:
            return f"{text}, took {timedelta(seconds=round(seconds))}"
        left = (self.total - self.done) * seconds / new
        return f"{text}, about {timedelta(seconds=round(left))} left"


def _lines(console: Console, what: str, pace: Pace) -> Callable[[int], None]:
    """Writes a line now and then, and one at the end of work that was long enough for a line."""
    last = pace.begun

    def advance(units: int) -> None:
        nonlocal last
        pace.done += units
        now = pace.clock()
        since = pace.begun if pace.done >= pace.total else last
        if now - since >= SECONDS_BETWEEN_LINES:
            console.out(f"{what} {pace.text()}", highlight=False)
            last = now

    return advance


def _amount(units: float, unit: str) -> str:
    if unit == BYTES:
        return filesize.decimal(int(units), precision=2)
    return f"{units:,.0f}" if units >= 10 else f"{units:.2g}"
