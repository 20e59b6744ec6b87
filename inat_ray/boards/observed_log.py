"""Opens a run log with its observers: live progress, TensorBoard, trackers, tables.

They all follow the log, each with a `History` of its own: the log is the one interface. Progress
and TensorBoard draw at once. Trackers are told on threads, since no search waits for a server.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

from rich.console import Console

from inat_ray.boards.parquet import write_tables
from inat_ray.boards.tensorboard import TensorBoardObserver
from inat_ray.boards.tensorboard_server import tensorboard_server
from inat_ray.boards.trackers import open_trackers
from inat_ray.boards.tracking_observer import TrackingObserver
from inat_ray.config.distributions import Parameter
from inat_ray.config.experiment import Experiment
from inat_ray.log.run_log import Observer, RunLog, read_records
from inat_ray.run.folder import RunFolder
from inat_ray.terminal.progress import RunProgress
from inat_ray.terminal.say import note
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
    """Opens the log of `run`, with observers that are closed however the context ends.

    With a port, TensorBoard is served there meanwhile.

    If the run is resumed, the observers get its earlier records first; TensorBoard's files are
    written anew, since the HParams tab keeps the first ending that it finds. Raises as `RunLog`.
    """
    tell = partial(note, console)
    # First of all: it refuses a run that another process is working on, whose files must stay.
    with RunLog(run.log, storage=run.storage, tell=tell, is_claimed=run.is_claimed) as log:
        past = list(read_records(run.events)) if resumed else []
        if resumed:
            shutil.rmtree(run.tensorboard, ignore_errors=True)
        tensorboard = TensorBoardObserver(
            run.tensorboard,
            parameters=parameters,
            snapshots=lambda trial_id: read_snapshot(run.snapshot(trial_id)),
        )
        for record in past:
            tensorboard(record)
        progress = RunProgress(console, past=past)
        trackers = [
            TrackingObserver(tracker, experiment, tell=tell, past=past)
            for tracker in open_trackers(experiment, run)
        ]
        observers: list[Observer] = [tensorboard, progress, *trackers]
        for observer in observers:
            log.watch(observer)
        # Left in the reverse order: trackers are last, since they may have to wait for a server.
        with ExitStack() as at_end:
            at_end.enter_context(progress)
            for tracker in trackers:
                at_end.callback(tracker.close)
            at_end.callback(write_tables, log.history, run.path)
            at_end.callback(tensorboard.close)
            at_end.enter_context(
                tensorboard_server(run.tensorboard, port=tensorboard_port, tell=tell)
            )
            yield log
