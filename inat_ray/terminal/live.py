"""What the live view of a run shows, for a terminal of any width, with Unicode or without."""

import math
import re
from collections.abc import Iterator, Sequence

from rich.console import ConsoleOptions, Group, OverflowMethod, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from inat_ray.log.history import History, TrialHistory
from inat_ray.search.winner import final_training, winning_trial
from inat_ray.terminal.estimate import (
    done_and_total,
    duration,
    end_text,
    epochs_planned,
    phase_of,
    times_text,
    training_alone,
)
from inat_ray.terminal.leaderboard import (
    LABELS,
    counted,
    metric_text,
    parameters_text,
    percent,
    states_text,
)

SHOWN_RUNNING = 8
BAR_WIDTH = (8, 40)
"""The least and the most, in characters."""

CURVE_WIDTH = 16
"""Most characters of a curve; of more epochs, the last of each of as many parts is shown."""

PARAMETERS_WIDTH = 16
"""With less room than that, parameters are left out."""

GAP = 2
BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.:-=+*#"
UNKNOWN = "?"
"""In a curve, of a value that is no number."""


def live_view(
    history: History, *, now: float, options: ConsoleOptions, goes_on: bool = True
) -> Group:
    """The state of a run at `now` (seconds since 1970), for a console with these options.

    `goes_on`: whether a process is at work on it, so that the time left means something.
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
    """Each with its style."""
    times = [f"{duration(history.seconds_at(now))} gone"]
    if goes_on:
        times = [times_text(history, now=now), end_text(history, now=now) or ""]
    counts = [states_text(history), epochs_text(history), speed_text(history) or ""]
    for parts, separator in ((times, ", "), (counts, "; ")):
        for line in flowed(separator.join(filter(None, parts)), width):
            yield line, ""
    if (trial := winning_trial(history)) is not None:
        best, shown = _best_text_of(history, trial), parameters_text(trial.parameters)
        line = f"{best}  {shown}".rstrip()
        for each in [line] if len(line) <= width else [best, shown]:
            yield each, "green"


def _one_line(text: str, options: ConsoleOptions, *, style: str = "") -> Text:
    overflow: OverflowMethod = "crop" if options.ascii_only else "ellipsis"
    return Text(writable(text, options.encoding), style=style, no_wrap=True, overflow=overflow)


def writable(text: str, encoding: str) -> str:
    """With ? for what the console's encoding does not have."""
    return text.encode(encoding, "replace").decode(encoding)


def flowed(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters where `text` allows it: broken after , and ; alone."""
    lines: list[str] = []
    for part in re.split(r"(?<=[,;]) ", text):
        if lines and len(lines[-1]) + 1 + len(part) <= width:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return lines


def sparkline(values: Sequence[float], *, low: float, high: float, ascii_only: bool = False) -> str:
    """A character a value, from `low` to `high`: ▁▃▅█."""
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
    """At most `most` of the values: the last of each of as many equal parts."""
    if len(values) <= most:
        return list(values)
    return [values[(part + 1) * len(values) // most - 1] for part in range(most)]


def best_text(history: History) -> str | None:
    """'best val acc 91.2 % (trial_0004)'; None before there is a result.

    Of the trial that would be the winner if the search ended now.
    """
    best = winning_trial(history)
    return None if best is None else _best_text_of(history, best)


def _best_text_of(history: History, best: TrialHistory) -> str:
    return f"best {score_text(history, best)} ({best.trial_id})"


def kept_model_text(history: History) -> str | None:
    """'kept model val acc 90.7 % (winner)', of its own training; None where there is none."""
    final = final_training(history)
    score = None if final is None else score_text(history, final)
    return None if final is None or score is None else f"kept model {score} ({final.trial_id})"


def score_text(history: History, trial: TrialHistory) -> str | None:
    """A trial's best value of the run's metric: 'val acc 91.2 %'."""
    metric = history.run.metric
    best = trial.best(metric)
    return None if best is None else f"{LABELS[metric]} {metric_text(metric, best)}"


def epochs_text(history: History) -> str:
    """'96 epochs of 240 planned, 58 saved by stopping early', of the search."""
    saved = history.epochs_saved
    text = f"{counted(history.epochs_spent, 'epoch')} of {epochs_planned(history)} planned"
    return text + (f", {saved} saved by stopping early" if saved else "")


def speed_text(history: History) -> str | None:
    """'1,000 images/s', of all trials that run; None before it is known."""
    speed = sum(t.epochs[-1].images_per_second for t in running_trials(history) if t.epochs)
    return f"{speed:,.0f} images/s" if speed else None


def share_text(trial: TrialHistory) -> str:
    """'3/8', in epochs."""
    return f"{len(trial.epochs)}/{trial.planned_epochs}"


def running_trials(history: History) -> list[TrialHistory]:
    """In order of start; the winner's training is one."""
    alone = training_alone(history)
    others = [trial for trial in history.active.values() if trial is not alone]
    return [*others, *([alone] if alone is not None else [])]


def _header(history: History, *, width: int, encoding: str) -> Table:
    """Name, phase, a bar, and how much of it is done."""
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
    """With two dots for what is left out."""
    return text if len(text) <= most else text[: max(1, most - 2)] + ".."


def _running_table(
    history: History, shown: Sequence[TrialHistory], *, options: ConsoleOptions
) -> Table:
    """The columns that fit, the most important first; a line a trial."""
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
