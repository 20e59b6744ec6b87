"""Trains a search's winner once more, for the model that is kept, and tests it once."""

from collections.abc import Iterator
from typing import Any

import ray
import torch
from ray.exceptions import NodeDiedError, ObjectLostError, WorkerCrashedError

from inat_ray.config.errors import RunFailedError
from inat_ray.config.experiment import Experiment
from inat_ray.config.resources import Resources
from inat_ray.config.trial import final_experiment
from inat_ray.data.dataset import DataSet
from inat_ray.log.history import TrialHistory
from inat_ray.log.run_log import RunLog
from inat_ray.run.checkpoints import StartingPoint, starting_point
from inat_ray.run.folder import RunFolder
from inat_ray.run.result import Result
from inat_ray.run.result_content import (
    images_by_subset,
    look_result,
    search_result,
    training_result,
)
from inat_ray.run.test_set import look_at_test
from inat_ray.run.weights import with_reachable_weights
from inat_ray.search.winner import chosen_trial, final_training, is_training_of
from inat_ray.storage.place import Place
from inat_ray.training.checkpoint import load_model, temperatures_in
from inat_ray.training.loop import Job, TrainedEpoch, train_to_the_end
from inat_ray.tuning.cluster import (
    final_resources,
    gpu_type_to_ask_for,
    nodes_in_use,
    resources_of_nodes,
)
from inat_ray.tuning.engine import engine
from inat_ray.tuning.single_training import record_training, training_job

LOST = (NodeDiedError, WorkerCrashedError, ObjectLostError)
"""What Ray raises for a task whose process or node is lost."""


def finish_search(
    experiment: Experiment, *, data: DataSet, run: RunFolder, log: RunLog, device: torch.device
) -> tuple[Experiment, Result]:
    """Trains the chosen trial's configuration again, keeps a model of it, tests it once.

    Nothing that the log has already is done again: a search that was extended and has the same
    winner keeps its model and test result. A winner that returns after another one is trained
    anew, because the model is the other's by then. Returns the winner's resolved experiment and the
    run's result; needs Ray to be up. Raises RunFailedError if no trial has a result, with the
    errors that were seen.
    """
    best = chosen_trial(log.history)
    if best is None:
        errors = sorted({trial.error or trial.state for trial in log.history.searched})
        because = "; ".join(errors) or "every point was beyond search.limits"
        raise RunFailedError(f"no trial gave a result: {because}")
    winner = final_experiment(experiment, parameters=best.parameters, seed=best.seed)
    searched, data = data, data.with_validation(winner.data.validation_fraction)
    trial = final_training(log.history)
    if trial is None or trial.state not in ("finished", "diverged"):
        trial = _recorded(winner, best, data=data, run=run, log=log)
    result = training_result(trial, experiment=winner, data=data)
    run.fetch_model()
    result["temperatures"] = list(temperatures_in(run.model))
    result["machine"]["nodes"] = nodes_in_use()
    result["search"] = search_result(log.history, experiment=experiment, data=searched)
    if data is not searched:
        result["search"]["images"] = images_by_subset(searched)
    look = log.history.look
    if look is None:
        model = load_model(run.model)
        look = look_at_test(model, data=data, device=device, run=run, log=log)
    result |= look_result(look) | {"test_looks": len(log.history.looks)}
    log.then(run.checkpoints.remove)
    return winner, result


def _recorded(
    winner: Experiment, best: TrialHistory, *, data: DataSet, run: RunFolder, log: RunLog
) -> TrialHistory:
    """Begins or continues the winner's training, and records each epoch."""
    finals = [trial for trial in log.history.numbered if trial.purpose == "final"]
    known = next((trial for trial in finals if is_training_of(trial, best)), None)
    kind = "winner" if log.history.picked is None else "pick"
    trial_id = known.trial_id if known else _new_name(kind, len(finals))
    reachable = with_reachable_weights(winner, run=run)
    job = training_job(reachable, data=data, run=run, name=trial_id)
    start = starting_point(known, run=run)
    return record_training(
        train_winner(job, storage=run.shared, start=start),
        run=run,
        log=log,
        trial_id=trial_id,
        purpose="final",
        experiment=winner,
        parameters=best.parameters,
        epochs_done=start.epochs_done,
    )


def _new_name(kind: str, others: int) -> str:
    """Returns `winner`; if an extended search has another winner, `winner_2`, and so on."""
    return f"{kind}_{others + 1}" if others else kind


def train_winner(job: Job, *, storage: Place, start: StartingPoint) -> Iterator[TrainedEpoch]:
    """Trains on the GPUs of the cluster, or else with every CPU of a node.

    Yields each epoch as it ends; by then the job's best model so far is in its place.
    """
    resources = final_resources(job.experiment)
    # A single worker needs a process on a node that has what it takes; a group finds its own.
    train = _train if resources.workers_per_trial > 1 else _train_in_a_task
    yield from train(job, start, resources=resources, storage=storage)


def _train(
    job: Job,
    start: StartingPoint,
    *,
    resources: Resources,
    storage: Place,
    threads: int | None = None,
) -> Iterator[TrainedEpoch]:
    with engine(resources, job.experiment, storage=storage, threads=threads) as trainer:
        yield from train_to_the_end(
            job, trainer, epochs_done=start.epochs_done, resume_from=start.checkpoint
        )


def _train_in_a_task(
    job: Job, start: StartingPoint, *, resources: Resources, storage: Place
) -> Iterator[TrainedEpoch]:
    """Trains in another process; one that dies, with its node or alone, is replaced."""
    failures, most = 0, job.experiment.resources.max_failures
    while True:
        try:
            for epoch in _task(job, start, resources=resources, storage=storage):
                done = ray.get(epoch)
                start, failures = StartingPoint(done.metrics.epoch, done.checkpoint), 0
                yield done
            return
        except LOST as error:
            failures += 1
            if failures > most:
                raise RunFailedError(
                    f"the process that trains the winner died {failures} times at epoch"
                    f" {start.epochs_done + 1}, and resources.max_failures is {most}: {error}"
                ) from None


def _task(job: Job, start: StartingPoint, *, resources: Resources, storage: Place) -> Any:
    """Starts a process that trains; returns references to its epochs, each ready as it ends."""
    gpus = resources.gpus_per_worker or 0
    threads = resources.cpus_per_worker if gpus else _cpus_of_largest_node(resources)
    task: Any = ray.remote(_train).options(  # type: ignore[arg-type]
        num_cpus=threads,
        num_gpus=gpus,
        resources=gpu_type_to_ask_for(resources),
        num_returns="streaming",
        max_retries=0,  # Ray would begin at the same epoch again
    )
    return task.remote(job, start, resources=resources, storage=storage, threads=threads)


def _cpus_of_largest_node(wanted: Resources) -> int:
    """Returns the most CPUs of any node that is up and has the type of GPU that is wanted.

    At least what is wanted: once idle workers are stopped, there may be a head without any CPU.
    """
    needed = gpu_type_to_ask_for(wanted).keys()
    fit = [node for node in resources_of_nodes() if needed <= node.keys()]
    return max([wanted.cpus_per_worker, *(int(node.get("CPU", 0)) for node in fit)])
