"""The live view of a run, for a terminal of any width, with Unicode or without."""

import math
import re
from collections.abc import Iterator, Sequence

from rich.console import ConsoleOptions, Group, OverflowMethod, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from inat_ray.log.history import History, TrialHistory
from inat_ray.search.winner import winning_trial
from inat_ray.terminal.estimate import done_and_total, phase_of
from inat_ray.terminal.standing import (
    best_text_of,
    end_text,
    epochs_text,
    running_trials,
    share_text,
    speed_text,
    states_text,
    times_text,
)
from inat_ray.terminal.words import duration, parameters_text, percent

SHOWN_RUNNING = 8
BAR_WIDTH = (8, 40)
"""The least and the most characters of the progress bar."""

CURVE_WIDTH = 16
"""The most characters of a learning curve; see `thinned`."""

PARAMETERS_WIDTH = 16
"""The least characters for parameters; with less room they are left out."""

GAP = 2
BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.:-=+*#"
UNKNOWN = "?"
"""Stands in a curve for NaN and infinity."""


def live_view(
    history: History, *, now: float, options: ConsoleOptions, goes_on: bool = True
) -> Group:
    """Shows the state of a run at `now` (seconds since 1970).

    `goes_on`: whether a process is at work on it, so that an estimate of the time left makes sense.
    """
    if history.started is None:
        return Group("starting")
    width, encoding = options.max_width, options.encoding
    parts: list[RenderableType] = [_header(history, width=width, encoding=encoding)]
    for line, style in _lines(history, now=now, width=width, goes_on=goes_on):
        parts.append(_one_line(line, options, style=style))
    if running := running_trials(history):
        parts.append(_running_table(history, running[:SHOWN_RUNNING], options=options))
    if len(running) > SHOWN_RUNNING:
        parts.append(f"and {len(running) - SHOWN_RUNNING} more")
    return Group(*parts)


def _lines(history: History, *, now: float, width: int, goes_on: bool) -> Iterator[tuple[str, str]]:
    """Lines about times, counts, and the best trial, each with its style."""
    times = [f"{duration(history.seconds_at(now))} elapsed"]
    if goes_on:
        times = [times_text(history, now=now), end_text(history, now=now) or ""]
    counts = [states_text(history), epochs_text(history), speed_text(history) or ""]
    for parts, separator in ((times, ", "), (counts, "; ")):
        for line in flowed(separator.join(filter(None, parts)), width):
            yield line, ""
    if (trial := winning_trial(history)) is not None:
        best, shown = best_text_of(history, trial), parameters_text(trial.parameters)
        line = f"{best}  {shown}".rstrip()
        for each in [line] if len(line) <= width else [best, shown]:
            yield each, "green"


def _one_line(text: str, options: ConsoleOptions, *, style: str = "") -> Text:
    overflow: OverflowMethod = "crop" if options.ascii_only else "ellipsis"
    return Text(writable(text, options.encoding), style=style, no_wrap=True, overflow=overflow)


def writable(text: str, encoding: str) -> str:
    """Replaces what the console's encoding lacks by ?."""
    return text.encode(encoding, "replace").decode(encoding)


def flowed(text: str, width: int) -> list[str]:
    """Breaks a text after commas and semicolons into lines of at most `width` characters."""
    lines: list[str] = []
    for part in re.split(r"(?<=[,;]) ", text):
        if lines and len(lines[-1]) + 1 + len(part) <= width:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return lines


def sparkline(values: Sequence[float], *, low: float, high: float, ascii_only: bool = False) -> str:
    """Draws each value as a character, from `low` to `high`: ▁▃▅█."""
    blocks = ASCII_BLOCKS if ascii_only else BLOCKS
    span = (high - low) or 1.0
    steps = len(blocks) - 1
    return "".join(
        blocks[min(steps, max(0, round(steps * (value - low) / span)))]
        if math.isfinite(value)
        else UNKNOWN
        for value in thinned(values, CURVE_WIDTH)
    )


def thinned(values: Sequence[float], most: int) -> list[float]:
    """Keeps at most `most` of the values: the last one in each of as many equal parts."""
    if len(values) <= most:
        return list(values)
    return [values[(part + 1) * len(values) // most - 1] for part in range(most)]


def _header(history: History, *, width: int, encoding: str) -> Table:
    """The run's name, its phase, a progress bar, and the share that is done."""
    done, total = done_and_total(history)
    phase, share = phase_of(history), f"{100 * done / total if total else 0:.0f} %"
    least, most = BAR_WIDTH
    room = width - len(phase) - len(share) - 3 * GAP
    name = writable(shortened(history.run.name, room - least), encoding)
    bar = max(least, min(most, room - len(name)))
    line = Table.grid(padding=(0, GAP))
    line.add_row(
        Text(name, style="bold", no_wrap=True, overflow="crop"),
        Text(phase, no_wrap=True, overflow="crop"),
        ProgressBar(total=total, completed=done, width=bar),
        Text(share, no_wrap=True, overflow="crop"),
    )
    return line


def shortened(text: str, most: int) -> str:
    """Cuts a text to `most` characters, with two dots for the rest."""
    return text if len(text) <= most else text[: max(1, most - 2)] + ".."


def _running_table(
    history: History, shown: Sequence[TrialHistory], *, options: ConsoleOptions
) -> Table:
    """One line for each trial, with the columns that fit, the most important first."""
    columns = _columns(history, shown, ascii_only=options.ascii_only)
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
    kept: list[list[str]] = []
    left = options.max_width
    for title, cells in columns:
        needed = max(map(len, [title, *cells]))
        if title == "parameters" and left >= PARAMETERS_WIDTH:
            needed = min(needed, left)
        if needed > left:
            break
        left -= needed + GAP
        right = title in ("epoch", "val acc", "rank", "images/s")
        table.add_column(
            title,
            justify="right" if right else "left",
            no_wrap=True,
            overflow="crop" if options.ascii_only else "ellipsis",
            width=needed,
            style="dim" if title == "parameters" else "",
        )
        kept.append(cells)
    for row in zip(*kept, strict=True):
        table.add_row(*(_one_line(cell, options) for cell in row))
    return table


def _columns(
    history: History, shown: Sequence[TrialHistory], *, ascii_only: bool
) -> list[tuple[str, list[str]]]:
    """(title, cells) of each column, the most important first."""
    accuracies = [trial.values("val_accuracy") for trial in shown]
    known = [value for values in accuracies for value in values if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    ranks = [history.ranking.rank(trial.number) for trial in shown]
    newest = [trial.epochs[-1] if trial.epochs else None for trial in shown]
    return [
        ("running", [trial.trial_id for trial in shown]),
        ("epoch", [share_text(trial) for trial in shown]),
        ("val acc", [percent(epoch.val_accuracy) if epoch else "" for epoch in newest]),
        (
            "curve",
            [sparkline(each, low=low, high=high, ascii_only=ascii_only) for each in accuracies],
        ),
        ("rank", ["" if rank is None else f"{rank}" for rank in ranks]),
        ("images/s", [f"{epoch.images_per_second:,.0f}" if epoch else "" for epoch in newest]),
        ("parameters", [parameters_text(trial.parameters) for trial in shown]),
    ]
