"""Writes TensorBoard's files from the run log: scalars by epoch, the HParams tab, images.

The tab is complete however a trial ends: the experiment, with every hyperparameter and metric, is
declared before the first trial, and a trial's session starts when the trial does. Images show a
trial's best epoch; they are drawn from its snapshot once the trial has ended. The run `search` is
the search's own progress.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from tensorboard.summary.writer.record_writer import RecordWriter

from inat_ray.boards.hparam_columns import hparam_info, kind_shown, set_value
from inat_ray.boards.scalars import epoch_scalars, search_scalars
from inat_ray.boards.snapshot_pictures import (
    augmented_picture,
    confusion_picture,
    first_filters_picture,
    mistakes_picture,
)
from inat_ray.config.distributions import Parameter
from inat_ray.config.metrics import METRICS
from inat_ray.config.space import SEED
from inat_ray.log.history import History
from inat_ray.log.records import (
    AnyRecord,
    EpochEnded,
    ParameterKind,
    RunStarted,
    TrialEnded,
    TrialPaused,
    TrialResumed,
    TrialStarted,
    TrialState,
)
from inat_ray.page.pictures import Pixels, jpeg, png
from inat_ray.search.telling import LEARNING_RATE, telling_parameters
from inat_ray.terminal.estimate import stands_alone
from inat_ray.training.snapshot import Snapshot

LEADING = ("accuracy", "loss")

TAGS = {
    **{f"{name}/{part}": f"{part}_{name}" for name in LEADING for part in ("train", "val")},
    **{f"metrics/{m}": m for m in METRICS if m.removeprefix("val_") not in LEADING},
    "lr": "lr",
    "work/images_per_second": "images_per_second",
}
"""Tag -> field of an epoch's record. TensorBoard orders groups of cards by name and opens the first
two: accuracy and loss, training beside validation. Speed is last."""

BEST = "accuracy/val_best"
"""The tag of a trial's best so far."""

SCORE = "score"
"""The tag of what a trial is compared by, so far."""

HPARAMS_COLUMNS = {
    "accuracy/val": "final val accuracy",
    BEST: "best val accuracy",
    SCORE: "score",
}
"""Tag -> title of its column in the HParams tab, which shows the last value of a tag."""

SEARCH = "search"
"""The run that has the experiment, and the search's own progress."""

TICKED = 5
"""The tab shows this many hyperparameters at first; the learning rate is always one of them."""

SUCCESSFUL: tuple[TrialState, ...] = ("finished", "stopped", "stopped_by_hand")

Snapshots = Callable[[str], Snapshot | None]
"""Finds a trial's snapshot by its id; None if there is none."""


class EventFile:
    """A file of TensorBoard's events. What is written is on its way to disk when `write` returns.

    TensorBoard's own EventFileWriter takes a thread for each file and names files by the clock.
    This one names a file by the time of its first record: a log always gives the same files.
    """

    def __init__(self, folder: Path, *, started: float, suffix: str = "inat_ray") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # Ten digits before the point: TensorBoard reads a folder's files in order of name.
        path = folder / f"events.out.tfevents.{started:017.6f}.{suffix}"
        path.unlink(missing_ok=True)  # a TensorBoard that has it open keeps what it reads
        self._records = RecordWriter(path.open("wb"))
        self.write(Event(wall_time=started, file_version="brain.Event:2"))

    def write(self, event: Event) -> None:
        self._records.write(event.SerializeToString(deterministic=True))
        self._records.flush()

    def close(self) -> None:
        self._records.close()


class TensorBoardObserver:
    """Follows the log, record by record, and writes a folder for each trial below `folder`.

    A log that is replayed into the same folder writes the same files again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        parameters: Mapping[str, Parameter] = {},
        snapshots: Snapshots = lambda _: None,
    ) -> None:
        """`parameters`: how each is drawn, which gives its domain in the HParams tab."""
        self.folder = folder
        self.history = History()
        self._parameters, self._snapshots = parameters, snapshots
        self._search: EventFile | None = None
        """From the first trial that ended on."""
        self._open: dict[str, EventFile] = {}
        """By trial id; closed when the trial ends or pauses, since a sweep may have thousands."""
        self._passing: dict[str, TrialEnded] = {}
        """Endings after which the trial may be resumed. They are written only at the close: the
        HParams tab keeps the first ending that it finds."""

    def __call__(self, record: AnyRecord) -> None:
        self.history.add(record)
        match record:
            case RunStarted():
                self._declare()
            case TrialStarted():
                self._start(record)
            case EpochEnded():
                self._epoch(record)
            case TrialPaused():
                self._close(record.trial_id)
            case TrialResumed():
                self._passing.pop(record.trial_id, None)
            case TrialEnded() if self._may_pass(record):
                self._passing[record.trial_id] = record
            case TrialEnded():
                self._end(record)

    def close(self) -> None:
        for record in self._passing.values():
            self._end(record)
        for trial_id in list(self._open):
            self._close(trial_id)
        if self._search is not None:
            self._search.close()
        if self.history.started is not None:
            self._declare()  # by now it is known which hyperparameters tell most

    def _may_pass(self, record: TrialEnded) -> bool:
        """Returns whether the trial may be resumed; after an error, only if it stands alone."""
        alone = stands_alone(self.history, self.history.trials[record.trial_id])
        return record.state == "interrupted" or (alone and record.state not in SUCCESSFUL)

    def _declare(self) -> None:
        """Writes the experiment, with all hyperparameters and metrics, to a file of its own."""
        run, ticked = self.history.run, self._ticked()
        experiment = api_pb2.Experiment(
            name=run.name,
            time_created_secs=run.time,
            hparam_infos=[
                hparam_info(name, kind, self._parameters.get(name), ticked=name in ticked)
                for name, kind in self._kinds().items()
            ],
            metric_infos=[
                api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=title)
                for tag, title in HPARAMS_COLUMNS.items()
            ],
        )
        file = EventFile(self.folder / SEARCH, started=run.time, suffix="experiment")
        file.write(_hparams(run, metadata.EXPERIMENT_TAG, experiment=experiment))
        file.close()

    def _kinds(self) -> dict[str, ParameterKind]:
        """Returns the types of the hyperparameters' columns."""
        kinds = self.history.run.parameters | {SEED: "string"}
        return {name: kind_shown(kind, self._parameters.get(name)) for name, kind in kinds.items()}

    def _ticked(self) -> list[str]:
        """Returns the hyperparameters that the tab shows at first: those that tell most so far."""
        names = telling_parameters(self.history)
        return sorted(names, key=lambda name: name != LEARNING_RATE)[:TICKED]

    def _start(self, record: TrialStarted) -> None:
        start = SessionStartInfo(group_name=record.trial_id, start_time_secs=record.time)
        kinds = self._kinds()
        for name, value in (record.parameters | {SEED: record.seed}).items():
            set_value(start.hparams[name], value, kinds[name])
        file = EventFile(self.folder / record.trial_id, started=record.time)
        file.write(_hparams(record, metadata.SESSION_START_INFO_TAG, session_start_info=start))
        self._open[record.trial_id] = file

    def _epoch(self, record: EpochEnded) -> None:
        values = epoch_scalars(record, TAGS)
        trial = self.history.trials[record.trial_id]
        if (best := trial.best("val_accuracy")) is not None:
            values[BEST] = best.val_accuracy
        if (score := self.history.score_value(trial)) is not None:
            values[SCORE] = score
        self._file(record).write(_scalars(record, values, step=record.epoch))

    def _end(self, record: TrialEnded) -> None:
        if (snapshot := self._snapshots(record.trial_id)) is not None:
            self._file(record).write(_images(record, snapshot))
        is_success = record.state in SUCCESSFUL
        status = api_pb2.STATUS_SUCCESS if is_success else api_pb2.STATUS_FAILURE
        end = SessionEndInfo(status=status, end_time_secs=record.time)
        ending = _hparams(record, metadata.SESSION_END_INFO_TAG, session_end_info=end)
        self._file(record).write(ending)
        self._close(record.trial_id)
        self._write_search(record)

    def _write_search(self, record: TrialEnded) -> None:
        """Writes the trial's score, the best so far, and the epochs spent, by trials that ended."""
        history, trial = self.history, self.history.trials[record.trial_id]
        # One that was cut off may be resumed and end again.
        if trial.purpose != "search" or history.is_training or not trial.is_over:
            return
        if self._search is None:
            self._search = EventFile(self.folder / SEARCH, started=record.time)
        ended, values = search_scalars(history)
        if (score := history.score_value(trial)) is not None:
            values["search/score"] = score
        self._search.write(_scalars(record, values, step=ended))

    def _file(self, record: EpochEnded | TrialEnded) -> EventFile:
        """Returns the trial's open file; after a pause it is another one beside the first."""
        if record.trial_id not in self._open:
            folder = self.folder / record.trial_id
            self._open[record.trial_id] = EventFile(folder, started=record.time)
        return self._open[record.trial_id]

    def _close(self, trial_id: str) -> None:
        if file := self._open.pop(trial_id, None):
            file.close()


def _scalars(record: AnyRecord, values: Mapping[str, float], *, step: int) -> Event:
    scalars = Summary(value=[Summary.Value(tag=t, simple_value=v) for t, v in values.items()])
    return Event(wall_time=record.time, step=step, summary=scalars)


def _images(record: AnyRecord, snapshot: Snapshot) -> Event:
    """Returns a snapshot's pictures, at the step of the epoch that they show."""
    pictures = {
        "view/training images": _image(augmented_picture(snapshot), _photographs),
        "view/confusion matrix": _image(confusion_picture(snapshot), png),
    }
    if (filters := first_filters_picture(snapshot)) is not None:
        pictures["view/first filters"] = _image(filters, png)
    if (mistakes := mistakes_picture(snapshot)) is not None:
        pictures["view/worst mistakes"] = _image(mistakes, _photographs)
    values = [Summary.Value(tag=tag, image=image) for tag, image in pictures.items()]
    return Event(wall_time=record.time, step=snapshot.epoch, summary=Summary(value=values))


def _photographs(pixels: Pixels) -> bytes:
    """Encodes photographs in full size."""
    return jpeg(pixels, most=max(pixels.shape))


def _image(pixels: Pixels, encode: Callable[[Pixels], bytes]) -> Summary.Image:
    height, width, _ = pixels.shape
    content = encode(pixels)
    return Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=content)


def _hparams(record: AnyRecord, tag: str, **content: object) -> Event:
    """Returns an event whose metadata the HParams tab reads; its value is an empty tensor."""
    about = metadata.create_summary_metadata(HParamsPluginData(**content))
    value = Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)
    return Event(wall_time=record.time, summary=Summary(value=[value]))
