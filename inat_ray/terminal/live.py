"""The live view of a run, for a terminal of any width, with Unicode or without."""

import math
import re
from collections.abc import Iterator, Sequence

from rich.console import ConsoleOptions, Group, OverflowMethod, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from inat_ray.log.history import History, TrialHistory
from inat_ray.search.telling import telling_parameters
from inat_ray.search.winner import winning_trial
from inat_ray.terminal.estimate import Phase, phase_of, running_trials, share_done
from inat_ray.terminal.run_texts import (
    best_text,
    end_text,
    epochs_text,
    share_text,
    speed_text,
    states_text,
    times_text,
)
from inat_ray.terminal.tables import GAP, also_searched, parameter_columns, room_of, that_fit
from inat_ray.terminal.words import duration, percent

SHOWN_RUNNING = 8

BEST = "green"
"""The style of the best trial, which stands above the running ones."""

NUMBERS = ("epoch", "val acc", "rank")
"""Columns that are aligned on the right."""

NARROWEST_BAR, WIDEST_BAR, WIDEST_CURVE = 8, 40, 10
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
    parts: list[RenderableType] = [_header(history, phase or phase_of(history), now, options)]
    for line in _lines(history, now=now, width=options.max_width, goes_on=goes_on):
        parts.append(_line(line, options))
    best, running = winning_trial(history), running_trials(history)
    if best is not None:
        parts.append(_line(best_text(history, best), options, style=BEST))
    shown = running[:SHOWN_RUNNING]
    if best is not None and best not in shown:
        shown.insert(0, best)
    if shown:
        parts += _table(history, shown, best=best, options=options)
    if len(running) > SHOWN_RUNNING:
        parts.append(f"and {len(running) - SHOWN_RUNNING} more")
    return Group(*parts)


def _line(text: str, options: ConsoleOptions, *, style: str = "") -> Text:
    line = Text(writable(text, options), style, no_wrap=True)
    line.truncate(options.max_width, overflow=_cut(options))
    return line


def writable(text: str, options: ConsoleOptions) -> str:
    """Replaces what the console's encoding lacks with ?."""
    return text.encode(options.encoding, "replace").decode(options.encoding)


def _cut(options: ConsoleOptions) -> OverflowMethod:
    """Returns how a line that is too long ends; not every encoding has an ellipsis."""
    return "crop" if options.ascii_only else "ellipsis"


def _header(history: History, phase: Phase, now: float, options: ConsoleOptions) -> Table:
    """Returns the run's name, its phase, a progress bar, and the share that is done."""
    done = share_done(history, now=now)
    share = f"{100 * done:.0f} %"
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
    line.add_row(name, phase, ProgressBar(total=1, completed=done), share)
    return line


def _lines(history: History, *, now: float, width: int, goes_on: bool) -> Iterator[str]:
    """Yields lines about times and counts."""
    times = [f"{duration(history.seconds_at(now))} elapsed"]
    if goes_on:
        times = [times_text(history, now=now), end_text(history, now=now) or ""]
    states = "" if history.is_training else states_text(history)
    counts = [states, epochs_text(history), speed_text(history) or ""]
    for parts, separator in ((times, ", "), (counts, "; ")):
        yield from flowed(separator.join(filter(None, parts)), width)


def flowed(text: str, width: int) -> list[str]:
    """Breaks a text after commas and semicolons into lines of at most `width` characters."""
    lines: list[str] = []
    for part in re.split(r"(?<=[,;]) ", text):
        if lines and len(lines[-1]) + 1 + len(part) <= width:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return lines


def _table(
    history: History,
    shown: Sequence[TrialHistory],
    *,
    best: TrialHistory | None,
    options: ConsoleOptions,
) -> Iterator[RenderableType]:
    """Yields a line for each trial, with as many columns as fit, and which parameters have none."""
    columns = _columns(history, shown, ascii_only=options.ascii_only)
    if not any(columns["rank"]):  # as in a training that stands alone
        del columns["rank"]
    names = telling_parameters(history, steady=True)
    parameters = parameter_columns([trial.parameters for trial in shown], names)
    first = that_fit(columns, room=options.max_width)
    values = that_fit(parameters, room=options.max_width - room_of(first))
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
    for title in (*first, *values):
        table.add_column(title, justify="right" if title in NUMBERS else "left", no_wrap=True)
    rows = zip(*first.values(), *values.values(), strict=True)
    for trial, row in zip(shown, rows, strict=True):
        texts = (Text(writable(cell, options)) for cell in row)
        table.add_row(*texts, style=BEST if trial is best else None)
    yield table
    if missing := also_searched(parameters, values):
        yield _line(missing, options, style="dim")


def _columns(
    history: History, shown: Sequence[TrialHistory], *, ascii_only: bool
) -> dict[str, list[str]]:
    """Returns what is known of the trials, the most important first."""
    accuracies = [trial.values("val_accuracy") for trial in shown]
    known = [value for values in accuracies for value in values if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    newest = [trial.epochs[-1] if trial.epochs else None for trial in shown]
    return {
        "trial": [trial.trial_id for trial in shown],
        "epoch": [share_text(trial) for trial in shown],
        "val acc": [percent(epoch.val_accuracy) if epoch else "" for epoch in newest],
        # As wide from the first epoch on, so that the columns beside it keep their places.
        "curve": [
            sparkline(v, low=low, high=high, ascii_only=ascii_only).ljust(
                min(trial.planned_epochs, WIDEST_CURVE)
            )
            for v, trial in zip(accuracies, shown, strict=True)
        ],
        "rank": [str(history.ranking.rank(trial.number) or "") for trial in shown],
    }


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
