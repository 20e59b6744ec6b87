"""The log as two Parquet tables: a row a trial, and a row an epoch."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from inat_ray.tuning.run_log import EpochEnded, History, ParameterKind, TrialHistory

EPOCH_COLUMNS = pa.schema(
    [("trial_id", pa.string()), ("epoch", pa.int64())]
    + [
        (name, pa.float64())
        for name in EpochEnded.model_fields
        if EpochEnded.model_fields[name].annotation is float and name != "time"
    ]
)

Column = list[Any]


def write_tables(history: History, folder: Path) -> None:
    """Writes trials.parquet and epochs.parquet, each whole or not at all."""
    _write(trials_table(history), folder / "trials.parquet")
    _write(epochs_table(history), folder / "epochs.parquet")


def trials_table(history: History) -> pa.Table:
    """A row a trial of the search, in order of start; a column a hyperparameter that varied."""
    trials = history.searched
    columns = {
        "trial_id": pa.array([t.trial_id for t in trials], pa.string()),
        "state": pa.array([t.state for t in trials], pa.string()),
        "error": pa.array([t.error for t in trials], pa.string()),
        "seed": pa.array([t.seed for t in trials], pa.int64()),
        "best_val_accuracy": pa.array([_best_accuracy(t) for t in trials], pa.float64()),
        "last_val_accuracy": pa.array([_last_accuracy(t) for t in trials], pa.float64()),
        "epochs": pa.array([len(t.epochs) for t in trials], pa.int64()),
        "seconds": pa.array([sum(e.seconds for e in t.epochs) for t in trials], pa.float64()),
    }
    kinds = history.run.parameters if history.run else {}
    for name, kind in kinds.items():
        columns[name] = _parameter_column([t.parameters[name] for t in trials], kind)
    return pa.table(columns)


def epochs_table(history: History) -> pa.Table:
    """A row an epoch of a trial, the winner's own training among them."""
    records = [epoch for trial in history.trials.values() for epoch in trial.epochs]
    columns = {name: [getattr(r, name) for r in records] for name in EPOCH_COLUMNS.names}
    return pa.table(columns, schema=EPOCH_COLUMNS)


def _parameter_column(values: Column, kind: ParameterKind) -> pa.Array:
    """Whole numbers stay whole where all are; strings that are no strings are JSON."""
    if kind == "boolean":
        return pa.array(values, pa.bool_())
    if kind == "number":
        whole = all(isinstance(value, int) for value in values)
        return pa.array(values, pa.int64() if whole else pa.float64())
    return pa.array([v if isinstance(v, str) else json.dumps(v) for v in values], pa.string())


def _best_accuracy(trial: TrialHistory) -> float | None:
    best = trial.best("val_accuracy", "maximize")
    return None if best is None else best.val_accuracy


def _last_accuracy(trial: TrialHistory) -> float | None:
    return trial.epochs[-1].val_accuracy if trial.epochs else None


def _write(table: pa.Table, path: Path) -> None:
    partial = path.with_suffix(".partial")
    pq.write_table(table, partial)
    partial.replace(path)
