"""Writes a single training into the run log: `train`'s, or that of a sweep's winner."""

from collections.abc import Iterable
from typing import Literal

from inat_ray.config.errors import RunFailedError
from inat_ray.config.experiment import Experiment
from inat_ray.data.dataset import DataSet
from inat_ray.log.history import TrialHistory
from inat_ray.log.records import JSON, EpochEnded, TrialEnded, TrialResumed, TrialStarted
from inat_ray.log.run_log import RunLog
from inat_ray.run.checkpoints import drop_model, keep_model, record_epoch
from inat_ray.run.folder import RunFolder
from inat_ray.search.stopping import state_if_over
from inat_ray.training.device import is_out_of_memory, with_remedy
from inat_ray.training.loop import Job, TrainedEpoch


def training_job(experiment: Experiment, *, data: DataSet, run: RunFolder, name: str) -> Job:
    """Returns the job of a training whose best model is kept."""
    return Job(
        experiment,
        data,
        checkpoints=run.checkpoints / name,
        keeps_model=True,
        snapshot=run.snapshot(name),
    )


def record_training(
    epochs: Iterable[TrainedEpoch],
    *,
    run: RunFolder,
    log: RunLog,
    trial_id: str,
    purpose: Literal["search", "final"],
    experiment: Experiment,
    parameters: dict[str, JSON],
    epochs_done: int = 0,
) -> TrialHistory:
    """Writes a training into the log as its epochs come: its start, each epoch, and its end.

    A training that the log knows already continues after `epochs_done`. The run's model becomes
    that of the best epoch so far; a winner's only once its training has ended, because an earlier
    winner's model may be the run's until then. An interruption or an error is recorded and raised
    again.
    """
    if trial_id in log.history.trials:
        log.append(TrialResumed(trial_id=trial_id, epochs=epochs_done))
    else:
        log.append(
            TrialStarted(
                trial_id=trial_id,
                purpose=purpose,
                seed=experiment.seed,
                parameters=parameters,
                epochs=experiment.recipe.epochs,
                keeps_last=experiment.recipe.keep == "last",
            )
        )
    try:
        for done in epochs:
            _take_in(done, trial=log.history.trials[trial_id], run=run, log=log)
    except KeyboardInterrupt:
        log.append(TrialEnded(trial_id=trial_id, state="interrupted"))
        raise
    except Exception as error:
        log.append(TrialEnded(trial_id=trial_id, state="failed", error=str(error)))
        if is_out_of_memory(f"{type(error).__name__}: {error}"):
            raise RunFailedError(with_remedy(str(error))) from error
        raise
    trial = log.history.trials[trial_id]
    keep_model(trial, run=run, log=log)
    state = state_if_over(trial)
    assert state is not None, "the epochs ended before the training did"
    log.append(TrialEnded(trial_id=trial_id, state=state))
    return trial


def _take_in(done: TrainedEpoch, *, trial: TrialHistory, run: RunFolder, log: RunLog) -> None:
    before = trial.best(log.history.run.metric)
    record_epoch(epoch_record(done, trial_id=trial.trial_id, run=run), run=run, log=log)
    if done.improved and trial.purpose != "final":
        keep_model(trial, run=run, log=log)
    if done.improved and before is not None and before.epoch != done.metrics.epoch:
        drop_model(before, run=run, log=log)


def epoch_record(done: TrainedEpoch, *, trial_id: str, run: RunFolder) -> EpochEnded:
    """Returns the record of an epoch that a trial of the run has trained."""
    checkpoint = done.checkpoint.relative_to(run.shared)
    return EpochEnded(trial_id=trial_id, checkpoint=checkpoint, **done.metrics.model_dump())
