"""Which checkpoints are kept: of each trial the one of its last epoch in the log, until it is over.
A training whose model is kept has that of its best epoch beside it.

A checkpoint goes only once the record that makes it superfluous is safe, so whatever a log names,
also the one in a storage that lags behind, is there to go on from.
"""

from dataclasses import dataclass

from inat_ray.log.history import TrialHistory
from inat_ray.log.records import EpochEnded
from inat_ray.log.run_log import RunLog
from inat_ray.run.folder import RunFolder
from inat_ray.storage.place import Place
from inat_ray.training.loop import model_in


@dataclass(frozen=True)
class StartingPoint:
    """Where a training goes on."""

    epochs_done: int
    checkpoint: Place | None


BEGINNING = StartingPoint(epochs_done=0, checkpoint=None)


def record_epoch(epoch: EpochEnded, *, run: RunFolder, log: RunLog) -> None:
    """Appends an epoch to the log, and lets the checkpoint of the one before it go."""
    before = newest_epoch(log.history.trials[epoch.trial_id])
    log.append(epoch)
    if before is not None and before.checkpoint not in (None, epoch.checkpoint):
        log.then((run.shared / str(before.checkpoint)).remove)


def drop_model(epoch: EpochEnded, *, run: RunFolder, log: RunLog) -> None:
    """The model of an epoch that is no longer its training's best."""
    log.then(_model(epoch, run=run).remove)


def keep_model(trial: TrialHistory, *, run: RunFolder, log: RunLog) -> None:
    """Makes the model of the training's best epoch in the log the run's.

    A result.json that tells of the model before it goes first, so the two always belong together.
    """
    best = trial.best(log.history.run.metric)
    if best is None or not (model := _model(best, run=run)).exists():
        return
    for file in (run.result, run.model_experiment):
        file.unlink(missing_ok=True)
        if run.storage is not None:
            (run.storage / file.name).remove()
    model.copy_to(run.shared_model)


def _model(epoch: EpochEnded, *, run: RunFolder) -> Place:
    return model_in(run.checkpoints / epoch.trial_id, epoch.epoch)


def drop_checkpoints(trial_id: str, *, run: RunFolder, log: RunLog) -> None:
    """Removes those of a trial that will not continue; thousands of them would fill a disk."""
    log.then((run.checkpoints / trial_id).remove)


def starting_point(trial: TrialHistory | None, *, run: RunFolder) -> StartingPoint:
    """After the last epoch in the log; the beginning where its checkpoint is gone."""
    newest = newest_epoch(trial)
    if newest is None or newest.checkpoint is None:
        return BEGINNING
    place = run.shared / newest.checkpoint
    return StartingPoint(newest.epoch, place) if place.is_whole_zip() else BEGINNING


def newest_epoch(trial: TrialHistory | None) -> EpochEnded | None:
    return trial.epochs[-1] if trial is not None and trial.epochs else None
