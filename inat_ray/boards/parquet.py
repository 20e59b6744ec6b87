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
from inat_ray.log.costs import COSTS, costs_of
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import ParameterKind
from inat_ray.log.score import STRETCH
from inat_ray.storage.disk import replacing


def _column(name: str, kind: pa.DataType, description: str) -> pa.Field:
    return pa.field(name, kind, metadata={"description": description})


MOMENT = pa.timestamp("ms", tz="UTC")

TRIAL = [
    _column("trial_id", pa.string(), "name of the training"),
    _column(
        "purpose", pa.string(), "search, confirm (another seed) or final (the model that is kept)"
    ),
    _column("state", pa.string(), "how it ended"),
    _column("error", pa.string(), "why it failed"),
    _column("seed", pa.int64(), "of initialization, order, and augmentation"),
    _column("started", MOMENT, "when it was suggested"),
]
"""The columns before those of the hyperparameters."""

SCORES = [
    _column("rank", pa.int64(), "place in the leaderboard of the search, from 1"),
    _column(
        "score",
        pa.float64(),
        f"best mean of the run's metric over {STRETCH} epochs in a row, or as many as were planned;"
        " of a trial that has fewer, of a single training, and in logs of earlier versions the"
        " best epoch's",
    ),
    _column("best", pa.float64(), "best value of the run's metric after any epoch"),
    _column("best_epoch", pa.int64(), "the epoch of that value, from 1"),
    _column("best_val_accuracy", pa.float64(), "highest validation accuracy after any epoch"),
    _column("last_val_accuracy", pa.float64(), "validation accuracy after the last epoch"),
    _column("epochs", pa.int64(), "epochs that were trained"),
    _column("planned_epochs", pa.int64(), "epochs of a training that is not stopped early"),
    _column("seconds", pa.float64(), "time of all its epochs"),
    *(
        _column(cost.name, pa.float64() if cost.unit == "ms" else pa.int64(), cost.meaning)
        for cost in COSTS.values()
    ),
]
"""The columns after them."""

EPOCH = [
    _column("trial_id", pa.string(), "name of the training"),
    _column("epoch", pa.int64(), "from 1"),
    _column("time", MOMENT, "when it ended"),
    _column("train_loss", pa.float64(), "mean over the augmented images, as they were trained on"),
    _column("train_accuracy", pa.float64(), "of the same images, 0 to 1"),
    # The loss comes first, as for training; a dictionary keeps the first place of a name.
    *(
        _column(name, pa.float64(), METRICS[name].meaning)
        for name in dict.fromkeys(["val_loss", *METRICS])
    ),
    _column("lr", pa.float64(), "learning rate of the last step"),
    _column("seconds", pa.float64(), "training and validation"),
    _column("images_per_second", pa.float64(), "training images over the training's seconds"),
    _column("peak_memory", pa.int64(), "most bytes of GPU memory taken; null on a CPU"),
]


def write_tables(history: History, folder: Path) -> None:
    """Writes trials.parquet and epochs.parquet, each whole or not at all."""
    for name, table in (("trials", trials_table(history)), ("epochs", epochs_table(history))):
        with replacing(folder / f"{name}.parquet") as partial:
            pq.write_table(table, partial)


def trials_table(history: History) -> pa.Table:
    """Returns a row for each training, in order of start; a column for each searched parameter."""
    trials = history.numbered
    rows = [_trial_row(trial, history) for trial in trials]
    table = pa.Table.from_pylist(rows, schema=pa.schema([*TRIAL, *SCORES]))
    kinds = history.run.parameters if history.started else {}
    # Every trial has a seed, searched or not: it has its column already.
    for place, name in enumerate((n for n in kinds if n != SEED), start=len(TRIAL)):
        values = _parameter_values(name, trials, kinds[name])
        table = table.add_column(place, _column(name, values.type, "hyperparameter"), values)
    return table.replace_schema_metadata(_about(history))


def epochs_table(history: History) -> pa.Table:
    """Returns a row for each epoch, by training in order of start."""
    records = [epoch for trial in history.numbered for epoch in trial.epochs]
    rows = [dict(record) | {"time": _moment(record.time)} for record in records]
    schema = pa.schema(EPOCH, metadata=_about(history))
    return pa.Table.from_pylist(rows, schema=schema)


def _trial_row(trial: TrialHistory, history: History) -> dict[str, Any]:
    best = trial.best(history.run.metric)
    highest = trial.best("val_accuracy")
    return {
        "trial_id": trial.trial_id,
        "purpose": trial.purpose,
        "state": trial.state,
        "error": trial.error,
        "seed": trial.seed,
        "started": _moment(trial.started),
        "rank": history.ranking.rank(trial.number),
        "score": history.score_value(trial),
        "best": history.best_value(trial),
        "best_epoch": best.epoch if best else None,
        "best_val_accuracy": highest.val_accuracy if highest else None,
        "last_val_accuracy": trial.epochs[-1].val_accuracy if trial.epochs else None,
        "epochs": len(trial.epochs),
        "planned_epochs": trial.planned_epochs,
        "seconds": sum(epoch.seconds for epoch in trial.epochs),
        **costs_of(trial),
    }


def _parameter_values(name: str, trials: Sequence[TrialHistory], kind: ParameterKind) -> pa.Array:
    """Returns a column; null for a trial that does not have the parameter.

    Numbers are integers if all of them are. Strings are JSON if any value is not a string, so that
    a value of null ("null") is not taken for a parameter that is missing.
    """
    given = [trial.parameters.get(name) for trial in trials]
    known = [trial.parameters[name] for trial in trials if name in trial.parameters]
    if kind == "boolean":
        return pa.array(given, pa.bool_())
    if kind == "number":
        whole = bool(known) and all(isinstance(value, int) for value in known)
        return pa.array(given, pa.int64() if whole else pa.float64())
    if not all(isinstance(value, str) for value in known):
        given = [json.dumps(t.parameters[name]) if name in t.parameters else None for t in trials]
    return pa.array(given, pa.string())


def _about(history: History) -> dict[str, str]:
    run = history.started
    return {"run": run.name, "metric": run.metric, "goal": run.goal} if run else {}


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
