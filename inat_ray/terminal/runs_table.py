"""Runs as tables and as JSON: a list, a comparison, and what a clean-up would remove."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from rich.markup import escape
from rich.table import Column, Table

from inat_ray.config.difference import differing
from inat_ray.config.experiment import Experiment
from inat_ray.config.metrics import METRICS
from inat_ray.log.costs import COSTS
from inat_ray.log.records import JSON
from inat_ray.run.cleanup import Plan, megabytes
from inat_ray.run.listing import Run
from inat_ray.terminal.run_texts import steering_texts
from inat_ray.terminal.tables import EDGE, folded, numbers, plain_table, room_of, that_fit
from inat_ray.terminal.words import cost_text, duration, metric_text, percent, value_text

NOTHING = "-"

JSON_FIELDS = (
    *("name", "kind", "state", "trials", "planned_trials", "epochs", "seconds", "metric", "best"),
    *("test_accuracy", "test_looks", "begun", "changed", "storage", "problem"),
)
"""Fields of a `Run` that JSON shows as they are."""

NUMBERS = ("trials", "best", "test", "size")
"""Columns that are aligned on the right."""

STYLES = {
    "running": "green",
    "cut off": "yellow",
    "running or cut off": "yellow",
    "failed": "red",
    "damaged": "red",
}


def runs_table(runs: Sequence[Run], *, folder: Path, width: int = 80) -> Table:
    """Returns a row for each run below `folder`: its state, numbers, kind, size, and start.

    The last three make room for the names of runs.
    """
    within = [r.path.relative_to(folder) if r.path != folder else folder for r in runs]
    columns: dict[str, list[str]] = {
        "run": [str(path) for path in within],
        "kind": [run.kind for run in runs],
        "state": [run.state for run in runs],
        "trials": [_trials(run) for run in runs],
        "best": [_best(run) for run in runs],
        "test": [_share(run.test_accuracy) for run in runs],
        "size": [megabytes(run.size) for run in runs],
        "started": [_date(run.begun) for run in runs],
    }
    spare = {name: columns.pop(name) for name in ("size", "kind", "started")}
    shown = {**columns, **that_fit(spare, room=width - EDGE - room_of(columns))}
    table = plain_table(
        *(numbers(name) if name in NUMBERS else Column(name, overflow="fold") for name in shown)
    )
    for row in zip(*shown.values(), strict=True):
        cells = [escape(cell) for cell in row]
        cells[1] = f"[{style}]{cells[1]}[/]" if (style := STYLES.get(row[1])) else cells[1]
        table.add_row(*cells)
    return table


def run_row(run: Run) -> dict[str, Any]:
    """Returns a run as JSON; sizes are in bytes, times in seconds since 1970."""
    fields = {name: getattr(run, name) for name in JSON_FIELDS}
    costs = {name: run.costs.get(name) for name in COSTS}
    changes = {"changes": steering_texts(run.steering)}
    return {"path": str(run.path), "bytes": run.size} | fields | costs | changes


class HasExperiment(Protocol):
    """A run, whatever else is known of it."""

    @property
    def experiment(self) -> Experiment | None: ...


def compared_settings(runs: Sequence[HasExperiment]) -> dict[str, list[Any]]:
    """Returns the settings that differ: dotted name -> value in each run, None if not known."""
    known = [run.experiment for run in runs if run.experiment is not None]
    found = {key: iter(values) for key, values in differing(known).items()}
    return {
        key: [None if run.experiment is None else next(values) for run in runs]
        for key, values in found.items()
    }


def comparison_table(runs: Sequence[Run]) -> Table:
    """Returns a column for each run: its outcome, then the settings in which the runs differ."""
    names = (folded(escape(str(run.path))) for run in runs)
    table = plain_table(Column("", style="dim", overflow="fold"), *names)
    settings = {
        key: [escape(setting_text(value)) for value in values]
        for key, values in compared_settings(runs).items()
        if key != "name"
    }
    for rows in (_outcomes(runs), settings):
        table.add_section()
        for title, cells in rows.items():
            if set(cells) != {NOTHING}:
                table.add_row(title, *cells)
    return table


def setting_text(value: JSON) -> str:
    """Returns a value, or what a searched parameter may be: 32-64, 64-128; uniform 0.5 0."""
    if value is None:
        return NOTHING
    if isinstance(value, dict) and list(value) == ["values"]:
        return ", ".join(map(value_text, value["values"]))
    return value_text(value)


def _outcomes(runs: Sequence[Run]) -> dict[str, list[str]]:
    return {
        "name": [escape(run.name) for run in runs],
        "kind": [run.kind for run in runs],
        "state": [run.state for run in runs],
        "trials": [_trials(run) for run in runs],
        "metric": [METRICS[run.metric].label if run.metric in METRICS else NOTHING for run in runs],
        "best": [_best(run) for run in runs],
        **{
            cost.label: [cost_text(cost, run.costs.get(name)) for run in runs]
            for name, cost in COSTS.items()
        },
        "test acc": [_share(run.test_accuracy) for run in runs],
        "looks at the test set": [str(run.test_looks) for run in runs],
        "epochs": [f"{run.epochs:,}" for run in runs],
        "time": [NOTHING if run.seconds is None else duration(run.seconds) for run in runs],
        "size": [megabytes(run.size) for run in runs],
        "begun": [_date(run.begun) for run in runs],
        "changed": [escape("\n".join(steering_texts(run.steering))) or NOTHING for run in runs],
    }


def removals_table(plan: Plan) -> Table:
    """Returns what would be removed, a line each, with its size."""
    table = plain_table(folded("to be removed"), folded("what"), numbers("size"))
    for removal in plan.removals:
        table.add_row(escape(str(removal.path)), removal.why, megabytes(removal.size))
    return table


def _best(run: Run) -> str:
    if run.best is None or run.metric is None:
        return NOTHING
    return metric_text(run.metric, run.best)


def _trials(run: Run) -> str:
    planned = run.planned_trials
    return str(run.trials) if planned in (None, run.trials) else f"{run.trials}/{planned}"


def _share(value: float | None) -> str:
    return NOTHING if value is None else percent(value)


def _date(time: float) -> str:
    """Returns a time since 1970 in local time, to the minute."""
    return datetime.fromtimestamp(time).astimezone().strftime("%Y-%m-%d %H:%M") if time else NOTHING
