"""The live view of a run, for a terminal of any width, with Unicode or without."""

import math
import re
from collections.abc import Iterator, Sequence

from rich.console import ConsoleOptions, Group, OverflowMethod, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from inat_ray.log.history import History, TrialHistory
from inat_ray.search.winner import winning_trial
from inat_ray.terminal.estimate import Phase, done_and_total, phase_of, running_trials
from inat_ray.terminal.run_texts import (
    best_text_of,
    end_text,
    epochs_text,
    share_text,
    speed_text,
    states_text,
    times_text,
)
from inat_ray.terminal.words import duration, parameters_text, percent

SHOWN_RUNNING = 8

COLUMNS = ("running", "epoch", "val acc", "curve", "rank", "images/s", "parameters")
"""Titles of the table of running trials, the most important first: see `_row`."""

NUMBERS = ("epoch", "val acc", "rank", "images/s")
"""Those of them that are aligned on the right."""

NARROWEST_PARAMETERS = 16
"""The fewest characters for parameters; with less room they are left out."""

NARROWEST_BAR, WIDEST_BAR, WIDEST_CURVE, GAP = 8, 40, 16, 2
"""In characters."""

BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.:-=+*#"
UNKNOWN = "?"
"""Stands in a curve for NaN and infinity."""


def live_view(
    history: History,
    *,
    now: float,
    options: ConsoleOptions,
    phase: Phase | None = None,
    goes_on: bool = True,
) -> Group:
    """Returns the state of a run at `now` (seconds since 1970).

    `phase` is what the run does where its log alone does not tell. `goes_on`: whether a process is
    working on it, so that an estimate of the time left makes sense.
    """
    if history.started is None:
        return Group("starting")
    phase = phase or phase_of(history)
    parts: list[RenderableType] = [_header(history, phase, options)]
    for line, style in _lines(history, now=now, width=options.max_width, goes_on=goes_on):
        parts.append(Text(writable(line, options), style, no_wrap=True, overflow=_cut(options)))
    if running := running_trials(history):
        parts.append(_running_table(history, running[:SHOWN_RUNNING], options=options))
    if len(running) > SHOWN_RUNNING:
        parts.append(f"and {len(running) - SHOWN_RUNNING} more")
    return Group(*parts)


def writable(text: str, options: ConsoleOptions) -> str:
    """Replaces what the console's encoding lacks with ?."""
    return text.encode(options.encoding, "replace").decode(options.encoding)


def _cut(options: ConsoleOptions) -> OverflowMethod:
    """Returns how a line that is too long ends; not every encoding has an ellipsis."""
    return "crop" if options.ascii_only else "ellipsis"


def _header(history: History, phase: Phase, options: ConsoleOptions) -> Table:
    """Returns the run's name, its phase, a progress bar, and the share that is done."""
    done, total = done_and_total(history)
    share = f"{100 * done / total if total else 0:.0f} %"
    # Of columns that do not fit, rich narrows only those that may wrap. Here that is the bar, as
    # long as the name leaves it some room.
    room = options.max_width - len(phase) - len(share) - 3 * GAP - NARROWEST_BAR
    line = Table.grid(
        Column(style="bold", no_wrap=True, overflow=_cut(options), max_width=max(1, room)),
        Column(no_wrap=True),
        Column(max_width=WIDEST_BAR),
        Column(no_wrap=True),
        padding=(0, GAP),
    )
    name = Text(writable(history.run.name, options))
    line.add_row(name, phase, ProgressBar(total=total, completed=done), share)
    return line


def _lines(history: History, *, now: float, width: int, goes_on: bool) -> Iterator[tuple[str, str]]:
    """Yields lines about times, counts, and the best trial, each with its style."""
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


def flowed(text: str, width: int) -> list[str]:
    """Breaks a text after commas and semicolons into lines of at most `width` characters."""
    lines: list[str] = []
    for part in re.split(r"(?<=[,;]) ", text):
        if lines and len(lines[-1]) + 1 + len(part) <= width:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return lines


def _running_table(
    history: History, shown: Sequence[TrialHistory], *, options: ConsoleOptions
) -> Table:
    """Returns a line for each trial, with as many of the columns as fit."""
    accuracies = [value for trial in shown for value in trial.values("val_accuracy")]
    known = list(filter(math.isfinite, accuracies))
    limits = min(known, default=0.0), max(known, default=1.0)
    rows = [_row(history, t, limits=limits, ascii_only=options.ascii_only) for t in shown]
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
    room = options.max_width
    for title, *cells in zip(COLUMNS, *rows, strict=True):
        width = max(map(len, [title, *cells]))
        if title == "parameters":  # the only column that may be cut
            width = min(width, max(room, NARROWEST_PARAMETERS))
        if width > room:
            break
        room -= width + GAP
        table.add_column(
            title,
            justify="right" if title in NUMBERS else "left",
            style="dim" if title == "parameters" else "",
            width=width,
            no_wrap=True,
            overflow=_cut(options),
        )
    for row in rows:
        table.add_row(*(Text(writable(cell, options)) for cell in row[: len(table.columns)]))
    return table


def _row(
    history: History, trial: TrialHistory, *, limits: tuple[float, float], ascii_only: bool
) -> list[str]:
    """Returns a trial's cells. `limits`: the lowest and the highest accuracy of all curves."""
    newest = trial.epochs[-1] if trial.epochs else None
    low, high = limits
    return [
        trial.trial_id,
        share_text(trial),
        percent(newest.val_accuracy) if newest else "",
        sparkline(trial.values("val_accuracy"), low=low, high=high, ascii_only=ascii_only),
        str(history.ranking.rank(trial.number) or ""),
        f"{newest.images_per_second:,.0f}" if newest else "",
        parameters_text(trial.parameters),
    ]


def sparkline(values: Sequence[float], *, low: float, high: float, ascii_only: bool = False) -> str:
    """Draws each value as a character, from `low` to `high`: ▁▃▅█."""
    blocks = ASCII_BLOCKS if ascii_only else BLOCKS
    steps, span = len(blocks) - 1, (high - low) or 1.0
    return "".join(
        blocks[min(steps, max(0, round(steps * (value - low) / span)))]
        if math.isfinite(value)
        else UNKNOWN
        for value in thinned(values, WIDEST_CURVE)
    )


def thinned(values: Sequence[float], most: int) -> list[float]:
    """Keeps at most `most` of the values: the last one in each of as many equal parts."""
    if len(values) <= most:
        return list(values)
    return [values[(part + 1) * len(values) // most - 1] for part in range(most)]
