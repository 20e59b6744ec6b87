"""TensorBoard's files as a function of the run log: scalars by epoch, and the HParams tab.

The tab is complete however a trial ends: the experiment, with every hyperparameter and
metric, is declared before the first trial; a trial's session starts when the trial does.
"""

import json
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from inat_ray.tuning.run_log import (
    JSON,
    AnyRecord,
    EpochEnded,
    History,
    RunStarted,
    TrialEnded,
    TrialStarted,
    TrialState,
)

SCALARS = {
    "train/loss": "train_loss",
    "train/accuracy": "train_accuracy",
    "val/loss": "val_loss",
    "val/accuracy": "val_accuracy",
    "val/balanced_accuracy": "val_balanced_accuracy",
    "lr": "lr",
    "images_per_second": "images_per_second",
}
"""Tag -> field of an epoch's record."""

BEST = "val/best_accuracy"
"""Tag of the running best, whose last value is the trial's best."""

METRICS = {"val/accuracy": "final validation accuracy", BEST: "best validation accuracy"}

STATUS: dict[TrialState, int] = {
    "running": api_pb2.STATUS_RUNNING,
    "finished": api_pb2.STATUS_SUCCESS,
    "stopped": api_pb2.STATUS_SUCCESS,
    "diverged": api_pb2.STATUS_FAILURE,
    "failed": api_pb2.STATUS_FAILURE,
    "interrupted": api_pb2.STATUS_FAILURE,
}


class TensorBoardObserver:
    """Writes a folder a trial below `folder`; told of each record of the log in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.history = History()
        self._writers: dict[str, EventFileWriter] = {}

    def __call__(self, record: AnyRecord) -> None:
        self.history.add(record)
        match record:
            case RunStarted():
                self._declare(record)
            case TrialStarted():
                self._start(record)
            case EpochEnded():
                self._epoch(record)
            case TrialEnded():
                self._end(record)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _declare(self, record: RunStarted) -> None:
        experiment = summary.experiment_pb(
            hparam_infos=[api_pb2.HParamInfo(name=n) for n in (*record.parameters, "seed")],
            metric_infos=[
                api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=title)
                for tag, title in METRICS.items()
            ],
            time_created_secs=record.time,
        )
        self._write(".", experiment, at=record.time)
        self._close(".")

    def _start(self, record: TrialStarted) -> None:
        hparams = {name: _hparam(value) for name, value in record.parameters.items()}
        session = summary.session_start_pb(
            hparams | {"seed": record.seed},
            group_name=record.trial_id,
            start_time_secs=record.time,
        )
        self._write(record.trial_id, session, at=record.time)

    def _epoch(self, record: EpochEnded) -> None:
        trial = self.history.trials[record.trial_id]
        values = {tag: getattr(record, field) for tag, field in SCALARS.items()}
        best = trial.best("val_accuracy", "maximize")
        if best is not None:
            values[BEST] = best.val_accuracy
        scalars = [Summary.Value(tag=tag, simple_value=v) for tag, v in values.items()]
        self._write(record.trial_id, Summary(value=scalars), at=record.time, step=record.epoch)

    def _end(self, record: TrialEnded) -> None:
        session = summary.session_end_pb(STATUS[record.state], end_time_secs=record.time)
        self._write(record.trial_id, session, at=record.time)
        self._close(record.trial_id)

    def _write(self, name: str, content: Summary, *, at: float, step: int = 0) -> None:
        """On disk when this returns, so that TensorBoard follows and a kill loses nothing."""
        if name not in self._writers:
            self._writers[name] = EventFileWriter(str(self.folder / name))
        writer = self._writers[name]
        writer.add_event(Event(wall_time=at, step=step, summary=content))
        writer.flush()

    def _close(self, name: str) -> None:
        """A sweep may have thousands of trials, and each open one is a thread."""
        self._writers.pop(name).close()


def _hparam(value: JSON) -> Any:
    """What an HParams column can hold: numbers, booleans and strings; the rest as JSON."""
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)
