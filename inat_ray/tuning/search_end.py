"""After the search: the winner's model, and the one look at the test set."""

import torch

from inat_ray.config.errors import RunFailedError
from inat_ray.config.experiment import Experiment
from inat_ray.config.space import trial_experiment
from inat_ray.data.dataset import DataSet
from inat_ray.log.history import TrialHistory
from inat_ray.log.run_log import RunLog
from inat_ray.run.checkpoints import starting_point
from inat_ray.run.folder import RunFolder
from inat_ray.run.result import Result
from inat_ray.run.result_content import look_result, search_result, training_result
from inat_ray.run.test_set import look_at_test
from inat_ray.search.winner import final_training, is_training_of, winning_trial
from inat_ray.training.checkpoint import load_model
from inat_ray.tuning.cluster import nodes_in_use
from inat_ray.tuning.final_training import train_winner
from inat_ray.tuning.provision import with_reachable_weights
from inat_ray.tuning.record import record_training, training_job

OVER = ("finished", "diverged")


def finish_search(
    experiment: Experiment, *, data: DataSet, run: RunFolder, log: RunLog, device: torch.device
) -> tuple[Experiment, Result]:
    """Trains the winning trial's configuration again, keeps its best epoch, tests it once.

    What of that the log has already is not done again: a search that was extended and has the same
    winner keeps model and test result. One whose winner was the winner before the last is trained
    anew, for the model is another's by then. Returns the winner's resolved experiment and the run's
    result; needs Ray to be up. Raises RunFailedError where no trial has a result, with the errors
    that were seen.
    """
    best = winning_trial(log.history)
    if best is None:
        errors = sorted({trial.error or trial.state for trial in log.history.searched})
        raise RunFailedError("no trial gave a result: " + "; ".join(errors))
    winner = trial_experiment(experiment, parameters=best.parameters, seed=best.seed)
    trial = final_training(log.history)
    if trial is None or trial.state not in OVER:
        trial = _train(winner, best, data=data, run=run, log=log)
    result = training_result(trial, experiment=winner, data=data)
    run.fetch_model()
    result["machine"]["nodes"] = nodes_in_use()
    result["search"] = search_result(log.history, experiment=experiment, data=data)
    look = log.history.look
    if look is None:
        model = load_model(run.model)
        look = look_at_test(model, data=data, device=device, run=run, log=log)
    result |= look_result(look) | {"test_looks": len(log.history.looks)}
    log.then(run.checkpoints.remove)
    return winner, result


def _train(
    winner: Experiment,
    best: TrialHistory,
    *,
    data: DataSet,
    run: RunFolder,
    log: RunLog,
) -> TrialHistory:
    finals = [trial for trial in log.history.numbered if trial.purpose == "final"]
    known = next((trial for trial in finals if is_training_of(trial, best)), None)
    trial_id = known.trial_id if known else _new_name(len(finals))
    reachable = with_reachable_weights(winner, run=run)
    job = training_job(reachable, data=data, run=run, name=trial_id)
    start = starting_point(known, run=run)
    return record_training(
        train_winner(job, run=run, start=start),
        run=run,
        log=log,
        trial_id=trial_id,
        purpose="final",
        experiment=winner,
        parameters=best.parameters,
        epochs_done=start.epochs_done,
    )


def _new_name(others: int) -> str:
    """`winner`; of an extended search with another winner `winner_2`, and so on."""
    return f"winner_{others + 1}" if others else "winner"
