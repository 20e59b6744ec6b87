"""The run log: an append-only record of what happened, and the history that it tells.

Leaderboard, TensorBoard, tables, searchers and schedulers are functions of this log. One
process (the driver) writes it. A record is one JSON line; a line torn by a crash is dropped
by the reader, and a later record of the same trial and epoch replaces the earlier one.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

EVENTS = "events.jsonl"
"""The log's file, in the run's folder `log`."""

JSON = Any
"""A value that JSON can hold."""

TrialState = Literal["running", "finished", "stopped", "diverged", "failed", "interrupted"]
"""`stopped`: by early stopping; `diverged`: the loss was no longer a number."""


ParameterKind = Literal["number", "boolean", "string"]
"""How a hyperparameter's values are shown; whatever is mixed or nested is a JSON string."""


class Record(BaseModel):
    """A line of the log. `time` is in seconds since 1970."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")
    time: float = Field(default_factory=time.time)


class RunStarted(Record):
    kind: Literal["run_started"] = "run_started"
    name: str
    method: str
    """`random`, `bayes`, or `train` for a single configuration."""
    metric: str
    goal: Literal["maximize", "minimize"]
    trials: int
    """Trials that are planned."""
    epochs: int
    """Epochs of a trial that is not stopped early (where epochs are searched: the most)."""
    parameters: dict[str, ParameterKind]
    """Dotted names that the search varies, and what their values are."""


class TrialStarted(Record):
    kind: Literal["trial_started"] = "trial_started"
    trial_id: str
    purpose: Literal["search", "final"] = "search"
    """`final`: the winner's configuration, trained once more for the model that is kept."""
    seed: int
    parameters: dict[str, JSON]
    """Dotted name -> value, as the trial runs with them."""
    epochs: int
    """Epochs that this trial runs unless it is stopped."""


class EpochEnded(Record):
    """Metrics after `epoch` (counted from 1). Losses carry no label smoothing on validation."""

    kind: Literal["epoch_ended"] = "epoch_ended"
    trial_id: str
    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    val_balanced_accuracy: float
    lr: float
    seconds: float
    """The whole epoch, evaluation included."""
    images_per_second: float
    """Training images over the seconds of the training part."""
    checkpoint: str | None = None
    """Relative to the run folder; written before this record."""


class TrialEnded(Record):
    kind: Literal["trial_ended"] = "trial_ended"
    trial_id: str
    state: TrialState
    error: str | None = None


class TrialResumed(Record):
    """A trial that had ended without being over, or had been cut off, goes on after `epochs`."""

    kind: Literal["trial_resumed"] = "trial_resumed"
    trial_id: str
    epochs: int


class LookAtTest(Record):
    """The test set was looked at; `predictions` names the Parquet file, relative to the run."""

    kind: Literal["look_at_test"] = "look_at_test"
    model: str
    """File name of the model that was evaluated."""
    accuracy: float
    loss: float
    images: int
    predictions: str


AnyRecord = Annotated[
    RunStarted | TrialStarted | EpochEnded | TrialEnded | TrialResumed | LookAtTest,
    Field(discriminator="kind"),
]
_RECORDS: TypeAdapter[AnyRecord] = TypeAdapter(AnyRecord)

Observer = Callable[[AnyRecord], None]
"""Told of each record after it is on disk: the live table, TensorBoard."""


@dataclass
class TrialHistory:
    """One trial as the log tells it."""

    trial_id: str
    purpose: Literal["search", "final"]
    seed: int
    parameters: dict[str, JSON]
    planned_epochs: int
    started: float
    state: TrialState = "running"
    error: str | None = None
    epochs: list[EpochEnded] = field(default_factory=list)
    """In order of epoch, the last record of each."""

    def values(self, metric: str) -> list[float]:
        """The metric after each epoch."""
        return [getattr(record, metric) for record in self.epochs]

    def best(self, metric: str, goal: Literal["maximize", "minimize"]) -> EpochEnded | None:
        """The epoch with the best value that is a number; the earliest of equals."""
        numbers = [record for record in self.epochs if math.isfinite(getattr(record, metric))]
        pick = max if goal == "maximize" else min
        return pick(numbers, key=lambda record: getattr(record, metric), default=None)


@dataclass
class History:
    """What a log amounts to: a fold over its records."""

    run: RunStarted | None = None
    trials: dict[str, TrialHistory] = field(default_factory=dict)
    """By trial id, in order of start."""
    looks: list[LookAtTest] = field(default_factory=list)

    def add(self, record: AnyRecord) -> None:
        match record:
            case RunStarted():
                self.run = record
            case TrialStarted():
                self.trials[record.trial_id] = TrialHistory(
                    trial_id=record.trial_id,
                    purpose=record.purpose,
                    seed=record.seed,
                    parameters=record.parameters,
                    planned_epochs=record.epochs,
                    started=record.time,
                )
            case EpochEnded():
                trial = self.trials[record.trial_id]
                trial.epochs = [e for e in trial.epochs if e.epoch < record.epoch] + [record]
            case TrialEnded():
                self.trials[record.trial_id].state = record.state
                self.trials[record.trial_id].error = record.error
            case TrialResumed():
                self.trials[record.trial_id].state = "running"
                self.trials[record.trial_id].error = None
            case LookAtTest():
                self.looks.append(record)

    @property
    def searched(self) -> list[TrialHistory]:
        """The trials of the search, in order of start."""
        return [trial for trial in self.trials.values() if trial.purpose == "search"]

    def leaderboard(self) -> list[TrialHistory]:
        """The search's trials that have a result, best first; equals in order of start."""
        assert self.run is not None
        metric, goal = self.run.metric, self.run.goal
        scored = [
            (getattr(best, metric), trial)
            for trial in self.searched
            if (best := trial.best(metric, goal)) is not None
        ]
        scored.sort(key=lambda pair: pair[0], reverse=goal == "maximize")
        return [trial for _, trial in scored]


class RunLog:
    """The writer of a run's log: one process has it open, and its history is always current.

    Every record is on disk before an observer hears of it.
    """

    def __init__(self, folder: Path, observers: Iterable[Observer] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / EVENTS
        self.history = History()
        self._observers = list(observers)
        if self.path.exists():
            for record in read_records(self.path):
                self.history.add(record)
        self._file = self.path.open("ab")
        if _ends_in_torn_line(self.path):
            self._file.write(b"\n")

    def append(self, record: AnyRecord) -> None:
        self._file.write(record.model_dump_json().encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.history.add(record)
        for observer in self._observers:
            observer(record)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_records(path: Path) -> Iterator[AnyRecord]:
    """The records of a log in order; lines that a crash left torn are passed over."""
    with path.open("rb") as file:
        for line in file:
            try:
                yield _RECORDS.validate_json(line)
            except ValidationError as error:
                # Only a torn line is no JSON: a whole line that is no record is damage to report.
                if error.errors()[0]["type"] != "json_invalid":
                    raise


def read_history(folder: Path) -> History:
    """The history of the run whose log lies in `folder`."""
    history = History()
    for record in read_records(folder / EVENTS):
        history.add(record)
    return history


def _ends_in_torn_line(path: Path) -> bool:
    size = path.stat().st_size
    if size == 0:
        return False
    with path.open("rb") as file:
        file.seek(size - 1)
        return file.read(1) != b"\n"
