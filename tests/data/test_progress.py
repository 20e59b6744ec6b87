import io

import pytest
from rich.console import Console

from inat_ray.data.progress import (
    BYTES,
    NOTEBOOK,
    Pace,
    advancing,
    can_redraw,
    tracked,
)

CURSOR_HIDDEN = "\x1b[?25l"


class Clock:
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def terminal(*, width: int = 80) -> Console:
    return Console(width=width, file=io.StringIO(), force_terminal=True)


def file() -> Console:
    return Console(width=40, file=io.StringIO())


def lines_of_work(seconds_each: float, *, count: int, **options) -> list[str]:
    console, clock = file(), Clock()
    work = {"total": count, "unit": "images", "console": console, "clock": clock, **options}
    with advancing("decoding", **work) as advance:
        for _ in range(count):
            clock.now += seconds_each
            advance(1)
    return console.file.getvalue().splitlines()


def test_in_a_file_short_work_leaves_no_line():
    assert lines_of_work(1.0, count=9) == []


def test_in_a_file_long_work_leaves_a_line_every_ten_seconds_and_one_at_its_end():
    assert lines_of_work(4.0, count=7) == [
        "decoding 3/7 images, 0.25/s, about 0:00:16 left",
        "decoding 6/7 images, 0.25/s, about 0:00:04 left",
        "decoding 7/7 images, 0.25/s, took 0:00:28",
    ]


def test_what_is_not_to_be_shown_is_not():
    assert lines_of_work(100.0, count=3, shown=False) == []


def test_in_a_terminal_a_bar_is_drawn_with_count_rate_and_time_left():
    console, clock = terminal(), Clock()
    options = {"total": 12_000, "unit": "images", "console": console, "clock": clock}
    with advancing("decoding", **options) as advance:
        clock.now = 10.0
        advance(3_000)
    output = console.file.getvalue()
    assert CURSOR_HIDDEN in output
    assert "3,000/12,000 images, 300/s, about 0:00:30 left" in output


def test_the_bar_keeps_to_a_narrow_terminal():
    console = terminal(width=40)
    with advancing("decoding", total=10, unit="images", console=console) as advance:
        advance(5)
    assert "5/10" in console.file.getvalue()


def test_bytes_that_an_earlier_call_brought_say_nothing_about_the_pace():
    clock = Clock()
    pace = Pace(2_900_000_000, 4_000_000_000, BYTES, clock)
    clock.now, pace.done = 10.0, 3_000_000_000
    assert pace.text() == "3.00 GB/4.00 GB, 10.00 MB/s, about 0:01:40 left"


def test_before_anything_is_done_there_is_no_pace():
    clock = Clock()
    pace = Pace(0, 10, "files", clock)
    clock.now = 5.0
    assert pace.text() == "0/10 files"


def test_tracked_items_come_as_they_are():
    assert list(tracked("abc", "work", total=3, unit="letters", console=file())) == list("abc")
    batches = [[1, 2], [3]]
    told = tracked(batches, "work", total=3, unit="numbers", units=len, console=file())
    assert list(told) == batches


def test_batches_count_by_what_is_in_them():
    console = terminal()
    list(tracked([[1, 2], [3]], "work", total=3, unit="numbers", units=len, console=console))
    assert "3/3 numbers" in console.file.getvalue()


@pytest.mark.parametrize(
    ("variable", "value"), [(NOTEBOOK, "1"), ("TERM", "dumb")], ids=["notebook", "dumb"]
)
def test_what_looks_like_a_terminal_and_cannot_redraw_gets_lines(monkeypatch, variable, value):
    monkeypatch.delenv(NOTEBOOK, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert can_redraw(terminal())
    monkeypatch.setenv(variable, value)
    assert not can_redraw(terminal())
