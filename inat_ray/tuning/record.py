"""A single training written into the run log: `train`'s own, and the sweep's winner."""

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Literal

from inat_ray.config.experiment import Experiment
from inat_ray.training.fit import EpochMetrics
from inat_ray.tuning.run_log import (
    JSON,
    EpochEnded,
    RunLog,
    RunStarted,
    TrialEnded,
    TrialHistory,
    TrialStarted,
    TrialState,
)


def single_run_started(experiment: Experiment) -> RunStarted:
    """The first record of a run that trains one configuration."""
    metric = experiment.search.metric
    return RunStarted(
        name=experiment.name,
        method="train",
        metric=metric.name,
        goal=metric.goal,
        trials=1,
        epochs=experiment.recipe.epochs,
        parameters={},
    )


def record_training(
    epochs: Iterable[EpochMetrics],
    *,
    log: RunLog,
    trial_id: str,
    purpose: Literal["search", "final"],
    experiment: Experiment,
    parameters: dict[str, JSON],
) -> TrialHistory:
    """Consumes a training's epochs into the log, its start and its ending too.

    An interruption or an error is recorded and raised again.
    """
    log.append(
        TrialStarted(
            trial_id=trial_id,
            purpose=purpose,
            seed=experiment.seed,
            parameters=parameters,
            epochs=experiment.recipe.epochs,
        )
    )
    try:
        for metrics in epochs:
            log.append(EpochEnded(trial_id=trial_id, **asdict(metrics)))
    except KeyboardInterrupt:
        log.append(TrialEnded(trial_id=trial_id, state="interrupted"))
        raise
    except Exception as error:
        log.append(TrialEnded(trial_id=trial_id, state="failed", error=str(error)))
        raise
    trial = log.history.trials[trial_id]
    log.append(TrialEnded(trial_id=trial_id, state=_ending(trial)))
    return trial


def _ending(trial: TrialHistory) -> TrialState:
    newest = trial.epochs[-1]
    numbers = math.isfinite(newest.train_loss) and math.isfinite(newest.val_loss)
    return "finished" if numbers else "diverged"
