"""The log as two Parquet tables: a row a trial, and a row an epoch."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from inat_ray.search.history import History, TrialHistory
from inat_ray.search.records import JSON, ParameterKind
from inat_ray.search.study import SEED

EPOCH_METRICS = (
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "val_balanced_accuracy",
    "lr",
    "seconds",
    "images_per_second",
)

ABSENT = object()
"""Of a parameter whose condition a trial does not meet: no value, which is not JSON's null."""


def write_tables(history: History, folder: Path) -> None:
    """Writes trials.parquet and epochs.parquet, each whole or not at all."""
    _write(trials_table(history), folder / "trials.parquet")
    _write(epochs_table(history), folder / "epochs.parquet")


def trials_table(history: History) -> pa.Table:
    """A row a trial of the search, in order of start; a column a hyperparameter that it varies.

    The winner's training for the model that is kept is no trial; its epochs are in epochs.parquet.
    """
    trials = history.searched
    best = [trial.best("val_accuracy", "maximize") for trial in trials]
    last = [trial.epochs[-1] if trial.epochs else None for trial in trials]
    columns = {
        "trial_id": pa.array([t.trial_id for t in trials], pa.string()),
        "purpose": pa.array([t.purpose for t in trials], pa.string()),
        "state": pa.array([t.state for t in trials], pa.string()),
        "error": pa.array([t.error for t in trials], pa.string()),
        "seed": pa.array([t.seed for t in trials], pa.int64()),
        **_parameter_columns(history, trials),
        "best_val_accuracy": pa.array([e.val_accuracy if e else None for e in best], pa.float64()),
        "last_val_accuracy": pa.array([e.val_accuracy if e else None for e in last], pa.float64()),
        "best_epoch": pa.array([e.epoch if e else None for e in best], pa.int64()),
        "epochs": pa.array([len(t.epochs) for t in trials], pa.int64()),
        "seconds": pa.array([sum(e.seconds for e in t.epochs) for t in trials], pa.float64()),
    }
    return pa.table(columns)


def epochs_table(history: History) -> pa.Table:
    """A row an epoch, by trial in order of start; the winner's own training stands last."""
    records = [epoch for trial in history.trials.values() for epoch in trial.epochs]
    columns = {
        "trial_id": pa.array([r.trial_id for r in records], pa.string()),
        "epoch": pa.array([r.epoch for r in records], pa.int64()),
    }
    for name in EPOCH_METRICS:
        columns[name] = pa.array([getattr(r, name) for r in records], pa.float64())
    return pa.table(columns)


def _parameter_columns(history: History, trials: Sequence[TrialHistory]) -> dict[str, pa.Array]:
    kinds = history.run.parameters if history.run else {}
    return {
        name: _parameter_column([trial.parameters.get(name, ABSENT) for trial in trials], kind)
        for name, kind in kinds.items()
        if name != SEED  # every trial has one, searched or not: a column of its own
    }


def _parameter_column(values: list[JSON], kind: ParameterKind) -> pa.Array:
    """Numbers are whole where all are; strings are JSON where any value is no string."""
    given = [value for value in values if value is not ABSENT]
    if kind == "string" and not all(isinstance(value, str) for value in given):
        values = [value if value is ABSENT else json.dumps(value) for value in values]
    cells = [None if value is ABSENT else value for value in values]
    if kind == "boolean":
        return pa.array(cells, pa.bool_())
    if kind == "number":
        whole = bool(given) and all(isinstance(value, int) for value in given)
        return pa.array(cells, pa.int64() if whole else pa.float64())
    return pa.array(cells, pa.string())


def _write(table: pa.Table, path: Path) -> None:
    partial = path.with_suffix(".partial")
    pq.write_table(table, partial)
    partial.replace(path)
