"""python -m inat_ray.train: one configuration, trained on one device or data-parallel."""

from contextlib import ExitStack
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inat_ray import options
from inat_ray.config.batch_scaling import scaled_batch
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.config.resources import Resources
from inat_ray.log.lock import alive_in
from inat_ray.run.folder import (
    RunFolder,
    begin_run,
    claimed,
    reclaimed,
    run_here,
)

if TYPE_CHECKING:
    from inat_ray.data.dataset import DataSet
    from inat_ray.log.history import TrialHistory
    from inat_ray.log.run_log import RunLog
    from inat_ray.run.checkpoints import StartingPoint

TRIAL = "train"
"""What the log calls the one training of a run."""


class Scaling(StrEnum):
    """How the learning rate grows with the batch."""

    LINEAR = "linear"
    SQRT = "sqrt"


def main(
    experiment: options.ExperimentFile = None,
    data: options.Data = None,
    settings: options.Set = None,
    seed: options.Seed = None,
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    storage_path: options.StoragePath = None,
    address: options.Address = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Processes that train together and share each batch, on Ray."
        ),
    ] = None,
    gpus_per_worker: Annotated[
        float | None, typer.Option(metavar="G", help="GPUs of each; 1 where there are any.")
    ] = None,
    scale_batch: Annotated[
        Scaling | None,
        typer.Option(help="Grow the batch with the workers, and the learning rate by this rule."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Go on with a training that was cut off: its folder, or S/<its name>.",
        ),
    ] = None,
    test: Annotated[
        bool, typer.Option("--test", help="Look at the test set, once, with the best epoch.")
    ] = False,
    tensorboard: options.TensorBoard = False,
    tensorboard_port: options.TensorBoardPort = None,
    track: options.Track = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> None:
    """Train one configuration and keep its best epoch by validation accuracy.

    Example: inat-ray train cnn_best --data ~/inaturalist_12K --test
    """
    options.set_verbosity(verbose=verbose)
    port = options.tensorboard_port(wanted=tensorboard, port=tensorboard_port)
    given = options.data_options(data=data, seed=seed)
    resumed = None if resume is None else run_here(resume, out)
    if resumed is None:
        given |= options.storage_option(storage_path)
    else:
        others = [experiment, *given, *(settings or ()), overwrite, scale_batch, storage_path]
        experiment = _experiment_of(RunFolder(resumed), others=others)
    given |= options.tracking_option(track)
    if workers is not None:
        given["resources.workers_per_trial"] = ("--workers", workers)
    if gpus_per_worker is not None:
        given["resources.gpus_per_worker"] = ("--gpus-per-worker", gpus_per_worker)
    config = load_experiment(experiment, settings=settings or (), options=given)
    if scale_batch is not None:
        config = scaled_batch(config, scale_batch.value)
    _, result = train_in(
        out if resumed is None else resumed,
        config,
        resumed=resumed is not None,
        overwrite=overwrite,
        test=test,
        address=address,
        tensorboard_port=port,
        verbose=verbose,
    )
    if as_json:
        options.print_json(result)


def train_in(
    folder: Path | None,
    config: Experiment,
    *,
    resumed: bool = False,
    overwrite: bool = False,
    **given: Any,
) -> tuple[Path, dict[str, Any]]:
    """Claims the folder (None: the default one) and trains, `given` as for `run_training`.

    Returns the run's folder and its result.
    """
    if resumed:
        assert folder is not None
        claim = reclaimed(folder)
    else:
        claim = claimed(folder, config, overwrite=overwrite)
    with claim as run:
        return run.path, run_training(config, run=run, resumed=resumed, **given)


def run_training(
    config: Experiment,
    *,
    run: RunFolder,
    resumed: bool,
    test: bool = False,
    address: str | None = None,
    tensorboard_port: int | None = None,
    verbose: bool = False,
) -> dict[str, Any]:
    """Trains, leaves the run in its claimed folder, and returns its result."""
    options.say_loading("torch")
    # Imported only now: they take seconds, and a mistake in the options is answered at once.
    from inat_ray.boards.trackers import check_trackers
    from inat_ray.data.dataset import open_dataset
    from inat_ray.models.build import check_weights
    from inat_ray.terminal.announcements import announce, announce_training, conclude
    from inat_ray.tuning.engine import ray_if_needed

    console = options.console()
    check_weights(config)
    check_trackers(config)
    with ExitStack() as at_work:
        with ray_if_needed(config, address=address, verbose=verbose) as resources:
            dataset = open_dataset(config.data, progress=True)
            if not resumed:
                begin_run(run, config)
            at_work.enter_context(alive_in(run.storage))
            announce(console, run=run, data=dataset)
            announce_training(console, config, classes=len(dataset.classes))
            result = _train(
                config,
                data=dataset,
                run=run,
                resources=resources,
                resumed=resumed,
                test=test,
                tensorboard_port=tensorboard_port,
            )
        conclude(console, run=run, result=result, model=config)
    return result


def _train(
    config: Experiment,
    *,
    data: "DataSet",
    run: RunFolder,
    resources: Resources,
    resumed: bool,
    test: bool,
    tensorboard_port: int | None,
) -> dict[str, Any]:
    """The training itself, written into the run's log, and its result."""
    from inat_ray.boards.observed_log import observed_log
    from inat_ray.boards.tensorboard_server import tensorboard_server
    from inat_ray.run.checkpoints import BEGINNING
    from inat_ray.run.result_content import training_result
    from inat_ray.terminal.announcements import interruption_announced, note
    from inat_ray.tuning.engine import data_for
    from inat_ray.tuning.resume import point_to_resume
    from inat_ray.tuning.single_training import single_run_started

    console = options.console()
    start = point_to_resume(run, data=data, trial_id=TRIAL) if resumed else BEGINNING
    with (
        interruption_announced(console, run=run),
        data_for(resources, data, run=run, tell=partial(note, console)) as everywhere,
        observed_log(run, console, experiment=config, resumed=resumed) as log,
        tensorboard_server(run.tensorboard, port=tensorboard_port, tell=partial(note, console)),
    ):
        if not resumed:
            log.append(single_run_started(config))
        trial = _recorded(
            config, data=everywhere, run=run, log=log, resources=resources, start=start
        )
        result = training_result(trial, experiment=config, data=data)
        run.fetch_model()
        result["workers"] = config.resources.workers_per_trial
        if test:
            result |= _look(run, data=data, log=log)
        log.then(run.checkpoints.remove)
    return result


def _recorded(
    config: Experiment,
    *,
    data: "DataSet",
    run: RunFolder,
    log: "RunLog",
    resources: Resources,
    start: "StartingPoint",
) -> "TrialHistory":
    """The training from `start` to its end, epoch by epoch in the log."""
    from inat_ray.training.loop import train_to_the_end
    from inat_ray.tuning.engine import engine
    from inat_ray.tuning.single_training import record_training, training_job

    job = training_job(config, data=data, run=run, name=TRIAL)
    done = start.epochs_done
    with engine(resources, storage=run.shared, progress=True) as trainer:
        return record_training(
            train_to_the_end(job, trainer, epochs_done=done, resume_from=start.checkpoint),
            run=run,
            log=log,
            trial_id=TRIAL,
            purpose="search",
            experiment=config,
            parameters={},
            epochs_done=done,
        )


def _look(run: RunFolder, *, data: "DataSet", log: "RunLog") -> dict[str, Any]:
    from inat_ray.run.result_content import look_result
    from inat_ray.run.test_set import look_at_test
    from inat_ray.training.checkpoint import load_model
    from inat_ray.training.device import resolve_device

    model = load_model(run.model)
    device = resolve_device(model.experiment.device)
    return look_result(look_at_test(model, data=data, device=device, run=run, log=log))


def _experiment_of(run: RunFolder, *, others: list[object]) -> Path:
    """The experiment file of a run that goes on. Raises UserError if `others` would change it."""
    if any(other not in (None, False) for other in others):
        raise UserError(
            f"--resume {run.path}: goes on with the run's own experiment and storage;"
            " only --workers, --gpus-per-worker, --test and --json may stand beside it"
        )
    if not run.experiment.exists():
        raise UserError(f"--resume {run.path}: holds no run")
    return run.experiment


if __name__ == "__main__":
    options.run(main)
