"""After the search: the winner's model, and the one look at the test set."""

import torch

from inat_ray.config.errors import RunFailedError
from inat_ray.config.experiment import Experiment
from inat_ray.config.space import trial_experiment
from inat_ray.data.dataset import DataSet
from inat_ray.training.checkpoint import load_model
from inat_ray.tuning.look import look_at_test
from inat_ray.tuning.record import record_training, training_job
from inat_ray.tuning.result import Result, look_result, search_result, training_result
from inat_ray.tuning.run_folder import RunFolder
from inat_ray.tuning.run_log import RunLog
from inat_ray.tuning.study import winning_trial
from inat_ray.tuning.winner import train_winner


def finish_search(
    experiment: Experiment, *, data: DataSet, run: RunFolder, log: RunLog, device: torch.device
) -> tuple[Experiment, Result]:
    """Trains the winning trial's configuration again, keeps its best epoch, tests it once.

    Returns the winner's resolved experiment and the run's result; needs Ray to be up.
    Raises RunFailedError where no trial has a result, with the errors that were seen.
    """
    best = winning_trial(log.history)
    if best is None:
        errors = sorted({trial.error or trial.state for trial in log.history.searched})
        raise RunFailedError("no trial gave a result: " + "; ".join(errors))
    winner = trial_experiment(experiment, parameters=best.parameters, seed=best.seed)
    job = training_job(winner, data=data, run=run, name="winner")
    trial = record_training(
        train_winner(job, run=run),
        run=run,
        log=log,
        trial_id="winner",
        purpose="final",
        experiment=winner,
        parameters=best.parameters,
    )
    result = training_result(trial, experiment=winner, data=data)
    result["search"] = search_result(log.history, experiment=experiment, data=data)
    model = load_model(run.model)
    result |= look_result(look_at_test(model, data=data, device=device, run=run, log=log))
    run.drop_checkpoints()
    return winner, result
