"""Opens a run log with its observers: live progress, TensorBoard, trackers, tables."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from rich.console import Console

from inat_ray.boards.parquet import write_tables
from inat_ray.boards.tensorboard import TensorBoardObserver
from inat_ray.boards.tensorboard_server import tensorboard_server
from inat_ray.boards.trackers import open_trackers
from inat_ray.boards.tracking_observer import TrackingObserver
from inat_ray.config.distributions import Parameter
from inat_ray.config.experiment import Experiment
from inat_ray.log.history import History
from inat_ray.log.records import AnyRecord, TrialEnded, TrialResumed
from inat_ray.log.run_log import EVENTS, Observer, RunLog, read_records
from inat_ray.run.folder import RunFolder
from inat_ray.terminal.announcements import note
from inat_ray.terminal.estimate import stands_alone
from inat_ray.terminal.progress import RunProgress
from inat_ray.training.snapshot import read_snapshot


@contextmanager
def observed_log(
    run: RunFolder,
    console: Console,
    *,
    experiment: Experiment,
    parameters: Mapping[str, Parameter] = {},
    resumed: bool = False,
    tensorboard_port: int | None = None,
) -> Iterator[RunLog]:
    """Opens the log of `run`. However the context ends, the tables hold what the log holds.

    With a port, TensorBoard is served there meanwhile.

    If the run is resumed, the observers get its earlier records first; TensorBoard's files are
    written anew, since the HParams tab keeps the first ending that it finds. Raises as `RunLog`.
    """
    tell = partial(note, console)
    # First of all: it refuses a run that another process is at work on, whose files must stay.
    with RunLog(run.log, storage=run.storage, tell=tell, is_claimed=run.is_claimed) as log:
        if resumed:
            shutil.rmtree(run.tensorboard, ignore_errors=True)
        tensorboard = TensorBoardObserver(
            run.tensorboard,
            parameters=parameters,
            snapshots=lambda trial_id: read_snapshot(run.snapshot(trial_id)),
        )
        progress = RunProgress(console)
        past = list(read_records(run.log / EVENTS)) if resumed else []
        for record in past:
            progress.catch_up(record)
        for record in without_passing_ends(past):
            tensorboard(record)
        trackers = [
            TrackingObserver(tracker, experiment, tell=tell, past=past)
            for tracker in open_trackers(experiment, run)
        ]
        observers: list[Observer] = [tensorboard, progress, *trackers]
        for observer in observers:
            log.watch(observer)
        with progress:
            try:
                with tensorboard_server(run.tensorboard, port=tensorboard_port, tell=tell):
                    yield log
            finally:
                tensorboard.close()
                write_tables(log.history, run.path)
                for tracker in trackers:
                    tracker.close()


def without_passing_ends(records: Sequence[AnyRecord]) -> Iterator[AnyRecord]:
    """Leaves out the endings after which a trial went on, or is to go on now.

    A training that is no trial of a search goes on after an error too; a failed trial does not.
    """
    history = History.of(records)
    ends = {r.trial_id: r for r in records if isinstance(r, TrialEnded | TrialResumed)}
    for record in records:
        if not isinstance(record, TrialEnded):
            yield record
            continue
        trial = history.trials[record.trial_id]
        goes_on = record.state == "failed" and stands_alone(history, trial)
        if record is ends[trial.trial_id] and not goes_on:
            yield record
