"""A run's outcome as tables for the terminal, and how its values are written in words."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import get_args

from rich import box
from rich.console import Console
from rich.table import Table

from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import JSON, EpochEnded, TrialState
from inat_ray.run.result import Result

SHOWN_TRIALS = 10

PERCENTAGES = ("accuracy", "_ece", "_precision", "_recall", "_f1")
"""Ends of the names of a result's numbers that are shares of images."""

LABELS = {
    "val_accuracy": "val acc",
    "val_balanced_accuracy": "val bal. acc",
    "val_loss": "val loss",
}


def leaderboard_table(history: History, *, most: int = SHOWN_TRIALS, width: int = 80) -> Table:
    """The best trials of a search, best first.

    Each parameter has a column where all fit into `width` characters; else they share one.
    """
    apart = _leaderboard(history, most=most, apart=True)
    return apart if fits(apart, width) else _leaderboard(history, most=most, apart=False)


def fits(table: Table, width: int) -> bool:
    """Whether a table needs no more than `width` characters."""
    return Console(width=10 * width).measure(table).maximum <= width


def result_table(result: Result) -> Table:
    """A result's numbers, one a line; other nested parts than the search's stay in result.json."""
    table = Table(title="result", title_justify="left", show_header=False, box=box.SIMPLE)
    table.add_column(no_wrap=True, style="dim")
    table.add_column()
    for name, text in _result_rows(result):
        table.add_row(name, text)
    return table


def parameters_text(parameters: Mapping[str, JSON]) -> str:
    """Short names and values: lr=0.003 filters=32-64-128."""
    short = short_names(list(parameters))
    return " ".join(f"{short[name]}={value_text(v)}" for name, v in parameters.items())


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Each dotted name's last part, or the whole name where that is not unique."""
    last = {name: name.rpartition(".")[2] for name in names}
    counts = Counter(last.values())
    return {name: part if counts[part] == 1 else name for name, part in last.items()}


def value_text(value: JSON) -> str:
    """0.00123, 32-64-128, mish, true; of a mapping its values: fraction 0.3."""
    if isinstance(value, dict):
        return " ".join(value_text(item) for item in value.values())
    if isinstance(value, list):
        return "-".join(value_text(item) for item in value)
    if isinstance(value, float):
        return f"{value:.3g}"
    return value if isinstance(value, str) else json.dumps(value)


def cells_text(parameters: Mapping[str, JSON], names: Iterable[str]) -> list[str]:
    """The values of these parameters; - for one whose condition is not met."""
    return [value_text(parameters[name]) if name in parameters else "-" for name in names]


def states_text(history: History) -> str:
    """'12 of 20 trials: 3 finished, 9 stopped; 4 confirming: 2 finished, 2 running'."""
    counts = counts_text(history.states)
    text = f"{len(history.searched)} of {history.planned_trials} trials"
    text += f": {counts}" if counts else ""
    if confirming := history.confirming:
        counts = counts_text(Counter(trial.state for trial in confirming))
        text += f"; {len(confirming)} confirming: {counts}"
    return text


def counted(count: int, noun: str) -> str:
    """'1 epoch', '3 epochs'."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def counts_text(counts: Mapping[TrialState, int]) -> str:
    """'3 finished, 9 stopped'."""
    running, *ended = get_args(TrialState)
    return ", ".join(f"{counts[s]} {s}" for s in (*ended, running) if counts.get(s))


def metric_text(metric: str, record: EpochEnded) -> str:
    value = getattr(record, metric)
    return percent(value) if metric.endswith("accuracy") else f"{value:.3f}"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def interval_text(ends: Sequence[float]) -> str:
    """'71.5 to 77.8 %', of shares."""
    low, high = ends
    return f"{100 * low:.1f} to {percent(high)}"


def _leaderboard(history: History, *, most: int, apart: bool) -> Table:
    """With a column a parameter (`apart`), or with one column for all, which folds."""
    names = short_names(list(history.run.parameters))
    metrics = list(dict.fromkeys((history.run.metric, "val_accuracy")))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.title, table.title_justify = f"{history.run.name}: {states_text(history)}", "left"
    for title in ("#", "trial", *(LABELS[metric] for metric in metrics), "epochs", "state"):
        table.add_column(title, no_wrap=True)
    for title in names.values() if apart else ["parameters"]:
        table.add_column(title, no_wrap=apart, style="dim")
    ranking = history.leaderboard()[:most]
    for rank, trial in enumerate(ranking, start=1):
        values = cells_text(trial.parameters, names)
        shown = values if apart else [parameters_text(trial.parameters)]
        table.add_row(str(rank), *_scores(history, trial, metrics), *shown)
    if more := len(history.searched) - len(ranking):
        table.caption, table.caption_justify = f"and {more} more in trials.parquet", "left"
    return table


def _scores(history: History, trial: TrialHistory, metrics: Sequence[str]) -> list[str]:
    """Trial, metrics at its best epoch, epochs, state."""
    best = trial.best(history.run.metric)
    assert best is not None
    values = [metric_text(metric, best) for metric in metrics]
    return [trial.trial_id, *values, f"{len(trial.epochs)}/{trial.planned_epochs}", trial.state]


def _result_rows(result: Result) -> Iterator[tuple[str, str]]:
    for key, value in result.items():
        if key == "search":
            yield from _search_rows(value)
        elif key.endswith("_interval"):
            yield key, interval_text(value)
        elif not isinstance(value, dict | list):
            kept = "search" in result and key.startswith("val_")
            yield f"kept model: {key}" if kept else key, _shown(key, value)


def _search_rows(search: Result) -> Iterator[tuple[str, str]]:
    texts: dict[str, Callable[..., str]] = {"parameters": parameters_text, "trials": counts_text}
    for key, value in search.items():
        if isinstance(value, list):
            continue  # the study has a table of its own
        whose = "best trial" if key.startswith("val_") else "search"
        yield f"{whose}: {key}", texts[key](value) if key in texts else _shown(key, value)


def _shown(key: str, value: JSON) -> str:
    if isinstance(value, float) and key.endswith(PERCENTAGES):
        return percent(value)
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return value_text(value)
