"""How far long work is: a bar in a terminal, a plain line every ten seconds elsewhere."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

SECONDS_BETWEEN_LINES = 10.0
"""Without a terminal; what takes less leaves no line."""

NOTEBOOK = "JPY_PARENT_PID"
"""Set for a notebook's kernel and what it starts: its cells look like terminals, and cannot redraw
more than a line."""

BYTES = "bytes"
"""The unit whose counts are told in MB and GB."""

T = TypeVar("T")


def can_redraw(console: Console) -> bool:
    """Whether what was written can be written over: not in a log file, nor in a notebook."""
    is_screen = console.is_terminal and not console.is_dumb_terminal
    return is_screen and not console.is_jupyter and NOTEBOOK not in os.environ


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
    """The items, while the user is told how many units are done: 'decoding'.

    `units`: how many an item is; `len`, where the items are batches.
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
    """Gives what to call with the number of units that were done since the last call.

    `done`: units of an earlier attempt, which say nothing about the pace; `console`: stderr where
    it is not given; `clock`: in seconds.
    """
    console = console or Console(stderr=True, force_jupyter=False)
    if not shown:
        yield lambda _: None
    elif can_redraw(console):
        with _bar(console, what, total=total, unit=unit, done=done, clock=clock) as advance:
            yield advance
    else:
        yield _lines(console, what, total=total, unit=unit, done=done, clock=clock)


def progress_text(done: int, total: int, *, unit: str, before: int, seconds: float) -> str:
    """'1,200/12,000 images, 340/s, about 0:00:31 left'; `before`: done when the time began."""
    text = f"{_count(done, unit)}/{_count(total, unit)}" + ("" if unit == BYTES else f" {unit}")
    new = done - before
    if new <= 0 or seconds <= 0:
        return text
    rate = new / seconds
    text += f", {_rate(rate, unit)}"
    if done >= total:
        return f"{text}, took {timedelta(seconds=round(seconds))}"
    return f"{text}, about {timedelta(seconds=round((total - done) / rate))} left"


@contextmanager
def _bar(
    console: Console,
    what: str,
    *,
    total: int,
    unit: str,
    done: int,
    clock: Callable[[], float],
) -> Iterator[Callable[[int], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[text]}"),
    )
    begun, reached = clock(), done

    def text() -> str:
        return progress_text(reached, total, unit=unit, before=done, seconds=clock() - begun)

    def advance(units: int) -> None:
        nonlocal reached
        reached += units
        bar.update(task, completed=reached, text=text())

    with Progress(*columns, console=console, transient=True, expand=True) as bar:
        task = bar.add_task(escape(what), total=total, completed=done, text=text())
        yield advance


def _lines(
    console: Console,
    what: str,
    *,
    total: int,
    unit: str,
    done: int,
    clock: Callable[[], float],
) -> Callable[[int], None]:
    """The last unit is told too where the work was long enough for a line."""
    begun = last = clock()
    reached = done

    def advance(units: int) -> None:
        nonlocal last, reached
        reached += units
        now = clock()
        is_end = reached >= total and now - begun >= SECONDS_BETWEEN_LINES
        if is_end or now - last >= SECONDS_BETWEEN_LINES:
            text = progress_text(reached, total, unit=unit, before=done, seconds=now - begun)
            console.out(f"{what} {text}", highlight=False)
            last = now

    return advance


def _count(units: float, unit: str) -> str:
    if unit != BYTES:
        return f"{units:,.0f}"
    return f"{units / 1e9:.2f} GB" if units >= 1e9 else f"{units / 1e6:.1f} MB"


def _rate(rate: float, unit: str) -> str:
    if unit == BYTES or rate >= 10:
        return f"{_count(rate, unit)}/s"
    return f"{rate:.2g}/s"
