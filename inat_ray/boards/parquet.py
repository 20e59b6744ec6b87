"""Writes the log as two Parquet tables: one row for each training, and one for each epoch.

Each field's metadata describes its column; the table's metadata name the run and its metric.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from inat_ray.config.metrics import METRICS
from inat_ray.config.space import SEED
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import JSON, EpochEnded, ParameterKind
from inat_ray.storage.disk import replacing

MOMENT = pa.timestamp("ms", tz="UTC")

TRIAL = {
    "trial_id": (pa.string(), "name of the training"),
    "purpose": (pa.string(), "search, confirm (another seed) or final (the model that is kept)"),
    "state": (pa.string(), "how it ended"),
    "error": (pa.string(), "why it failed"),
    "seed": (pa.int64(), "of initialization, order, and augmentation"),
    "started": (MOMENT, "when it was suggested"),
}
"""Column -> its type and description; the columns of the hyperparameters follow these."""

SCORES = {
    "score": (pa.float64(), "best value of the run's metric after any epoch"),
    "best_epoch": (pa.int64(), "the epoch of that value, from 1"),
    "best_val_accuracy": (pa.float64(), "highest validation accuracy after any epoch"),
    "last_val_accuracy": (pa.float64(), "validation accuracy after the last epoch"),
    "epochs": (pa.int64(), "epochs that were trained"),
    "planned_epochs": (pa.int64(), "epochs of a training that is not stopped early"),
    "seconds": (pa.float64(), "time of all its epochs"),
}

EPOCH = {
    "trial_id": (pa.string(), "name of the training"),
    "epoch": (pa.int64(), "from 1"),
    "time": (MOMENT, "when it ended"),
    "train_loss": (pa.float64(), "mean over the augmented images, as they were trained on"),
    "train_accuracy": (pa.float64(), "of the same images, 0 to 1"),
    # The loss comes first, as for training; naming it again does not move it.
    **{name: (pa.float64(), METRICS[name].meaning) for name in ("val_loss", *METRICS)},
    "lr": (pa.float64(), "learning rate of the last step"),
    "seconds": (pa.float64(), "training and validation"),
    "images_per_second": (pa.float64(), "training images over the training's seconds"),
    "peak_memory": (pa.int64(), "most bytes of GPU memory taken; null on a CPU"),
}

ABSENT = object()
"""Stands for a parameter whose condition a trial does not meet, since null may be a value."""


def write_tables(history: History, folder: Path) -> None:
    """Writes trials.parquet and epochs.parquet, each whole or not at all."""
    _write(trials_table(history), folder / "trials.parquet")
    _write(epochs_table(history), folder / "epochs.parquet")


def trials_table(history: History) -> pa.Table:
    """One row for each training, in order of start; one column for each searched parameter."""
    trials = history.numbered
    about = [_about(trial) for trial in trials]
    scores = [_scores(trial, history) for trial in trials]
    columns = [
        *_columns(about, TRIAL),
        *_parameter_columns(history, trials),
        *_columns(scores, SCORES),
    ]
    return _table(columns, history)


def epochs_table(history: History) -> pa.Table:
    """One row for each epoch, by training in order of start."""
    records = [epoch for trial in history.numbered for epoch in trial.epochs]
    rows = [dict(record) | {"time": _moment(record.time)} for record in records]
    return _table(_columns(rows, EPOCH), history)


def _about(trial: TrialHistory) -> dict[str, Any]:
    return {
        "trial_id": trial.trial_id,
        "purpose": trial.purpose,
        "state": trial.state,
        "error": trial.error,
        "seed": trial.seed,
        "started": _moment(trial.started),
    }


def _scores(trial: TrialHistory, history: History) -> dict[str, Any]:
    best = trial.best(history.run.metric)
    highest = trial.best("val_accuracy")
    last: EpochEnded | None = trial.epochs[-1] if trial.epochs else None
    return {
        "score": history.best_value(trial),
        "best_epoch": best.epoch if best else None,
        "best_val_accuracy": highest.val_accuracy if highest else None,
        "last_val_accuracy": last.val_accuracy if last else None,
        "epochs": len(trial.epochs),
        "planned_epochs": trial.planned_epochs,
        "seconds": sum(epoch.seconds for epoch in trial.epochs),
    }


def _columns(
    rows: Sequence[dict[str, Any]], described: dict[str, tuple[pa.DataType, str]]
) -> list[tuple[pa.Field, pa.Array]]:
    return [
        (_field(name, kind, text), pa.array([row.get(name) for row in rows], kind))
        for name, (kind, text) in described.items()
    ]


def _field(name: str, kind: pa.DataType, description: str) -> pa.Field:
    return pa.field(name, kind, metadata={"description": description})


def _table(columns: Sequence[tuple[pa.Field, pa.Array]], history: History) -> pa.Table:
    run = history.started
    about = {"run": run.name, "metric": run.metric, "goal": run.goal} if run else {}
    schema = pa.schema([field for field, _ in columns], metadata=about)
    return pa.table([array for _, array in columns], schema=schema)


def _moment(seconds: float) -> datetime:
    """From seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def _parameter_columns(
    history: History, trials: Sequence[TrialHistory]
) -> list[tuple[pa.Field, pa.Array]]:
    kinds = history.run.parameters if history.started else {}
    arrays = {
        name: _parameter_column([trial.parameters.get(name, ABSENT) for trial in trials], kind)
        for name, kind in kinds.items()
        if name != SEED  # every trial has one, searched or not: a column of its own
    }
    return [(_field(n, array.type, "hyperparameter"), array) for n, array in arrays.items()]


def _parameter_column(values: list[JSON], kind: ParameterKind) -> pa.Array:
    """Numbers are integers if all are; strings are JSON if any value is not a string."""
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
    with replacing(path) as partial:
        pq.write_table(table, partial)
