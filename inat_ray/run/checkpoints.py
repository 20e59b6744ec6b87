"""Which checkpoints are kept: for each trial that of its last epoch in the log, until it is over.
A training whose model is kept has the model of its best epoch beside it.

A checkpoint is removed only once the record that makes it superfluous is safe, so whatever a log
names is there to go on from, even the log in a storage, which lags behind.
"""

from dataclasses import dataclass

from inat_ray.config.search import SearchConfig
from inat_ray.log.history import TrialHistory
from inat_ray.log.records import EpochEnded, TrialEnded, TrialPaused, TrialState
from inat_ray.log.run_log import RunLog
from inat_ray.run.folder import RunFolder
from inat_ray.search.stopping import state_after_epoch
from inat_ray.storage.place import Place
from inat_ray.training.loop import model_in


@dataclass(frozen=True)
class StartingPoint:
    """The epoch after which a training goes on."""

    epochs_done: int
    checkpoint: Place | None


BEGINNING = StartingPoint(epochs_done=0, checkpoint=None)


def record_epoch(epoch: EpochEnded, *, run: RunFolder, log: RunLog) -> None:
    """Appends an epoch to the log, and removes the checkpoint of the one before it."""
    before = newest_epoch(log.history.trials[epoch.trial_id])
    log.append(epoch)
    if before is not None and before.checkpoint not in (None, epoch.checkpoint):
        log.then((run.shared / str(before.checkpoint)).remove)


def settle_trial(search: SearchConfig, trial_id: str, *, run: RunFolder, log: RunLog) -> TrialState:
    """Records what becomes of a trial whose newest epoch is in the log, and returns it."""
    state = state_after_epoch(search, log.history, trial_id)
    if state == "paused":
        log.append(TrialPaused(trial_id=trial_id))
    elif state != "running":
        end_trial(trial_id, state, run=run, log=log)
    return state


def end_trial(
    trial_id: str, state: TrialState, *, run: RunFolder, log: RunLog, error: str | None = None
) -> None:
    log.append(TrialEnded(trial_id=trial_id, state=state, error=error))
    if state != "interrupted":  # the checkpoints of thousands that are over would fill a disk
        log.then((run.checkpoints / trial_id).remove)


def drop_model(epoch: EpochEnded, *, run: RunFolder, log: RunLog) -> None:
    """Removes the model of an epoch that is no longer its training's best."""
    log.then(_model(epoch, run=run).remove)


def keep_model(trial: TrialHistory, *, run: RunFolder, log: RunLog) -> None:
    """Makes the model of the training's best epoch in the log the run's model.

    A result.json that describes the model before it is removed first, so that the two always belong
    together.
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


def starting_point(trial: TrialHistory | None, *, run: RunFolder) -> StartingPoint:
    """Returns the point after the log's last epoch; the beginning if its checkpoint is gone."""
    newest = newest_epoch(trial)
    if newest is None or newest.checkpoint is None:
        return BEGINNING
    place = run.shared / newest.checkpoint
    return StartingPoint(newest.epoch, place) if place.is_whole_zip() else BEGINNING


def newest_epoch(trial: TrialHistory | None) -> EpochEnded | None:
    return trial.epochs[-1] if trial is not None and trial.epochs else None
