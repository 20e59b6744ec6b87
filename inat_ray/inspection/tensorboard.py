"""TensorBoard's files as a function of the run log: scalars by epoch, and the HParams tab.

The tab is complete however a trial ends: the experiment, with every hyperparameter and
metric, is declared before the first trial; a trial's session starts when the trial does.
"""

import json
from pathlib import Path

from google.protobuf.struct_pb2 import Value
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from inat_ray.tuning.run_log import (
    JSON,
    AnyRecord,
    EpochEnded,
    History,
    ParameterKind,
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

TYPES: dict[ParameterKind, int] = {
    "number": api_pb2.DATA_TYPE_FLOAT64,
    "boolean": api_pb2.DATA_TYPE_BOOL,
    "string": api_pb2.DATA_TYPE_STRING,
}

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
        kinds: dict[str, ParameterKind] = {**record.parameters, "seed": "number"}
        experiment = api_pb2.Experiment(
            hparam_infos=[
                api_pb2.HParamInfo(name=name, type=TYPES[kind]) for name, kind in kinds.items()
            ],
            metric_infos=[
                api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=title)
                for tag, title in METRICS.items()
            ],
            time_created_secs=record.time,
        )
        content = HParamsPluginData(experiment=experiment)
        self._write(".", _plugin_summary(metadata.EXPERIMENT_TAG, content), at=record.time)
        self._close(".")

    def _start(self, record: TrialStarted) -> None:
        start = SessionStartInfo(group_name=record.trial_id, start_time_secs=record.time)
        kinds = self.history.run.parameters if self.history.run else {}
        for name, value in record.parameters.items():
            _set_value(start.hparams[name], value, kinds[name])
        _set_value(start.hparams["seed"], record.seed, "number")
        content = HParamsPluginData(session_start_info=start)
        tag = metadata.SESSION_START_INFO_TAG
        self._write(record.trial_id, _plugin_summary(tag, content), at=record.time)

    def _epoch(self, record: EpochEnded) -> None:
        trial = self.history.trials[record.trial_id]
        values = {tag: getattr(record, field) for tag, field in SCALARS.items()}
        best = trial.best("val_accuracy", "maximize")
        if best is not None:
            values[BEST] = best.val_accuracy
        scalars = [Summary.Value(tag=tag, simple_value=v) for tag, v in values.items()]
        self._write(record.trial_id, Summary(value=scalars), at=record.time, step=record.epoch)

    def _end(self, record: TrialEnded) -> None:
        end = SessionEndInfo(status=STATUS[record.state], end_time_secs=record.time)
        content = HParamsPluginData(session_end_info=end)
        tag = metadata.SESSION_END_INFO_TAG
        self._write(record.trial_id, _plugin_summary(tag, content), at=record.time)
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


def _plugin_summary(tag: str, content: HParamsPluginData) -> Summary:
    """A summary without a value, whose metadata the HParams tab reads."""
    about = metadata.create_summary_metadata(content)
    return Summary(value=[Summary.Value(tag=tag, metadata=about)])


def _set_value(target: Value, value: JSON, kind: ParameterKind) -> None:
    """Sets a hyperparameter's value in the column's own type."""
    if kind == "number":
        target.number_value = value
    elif kind == "boolean":
        target.bool_value = value
    else:
        target.string_value = value if isinstance(value, str) else json.dumps(value)
