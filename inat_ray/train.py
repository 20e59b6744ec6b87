"""python -m inat_ray.train: one configuration, trained on one device or data-parallel."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inat_ray import options
from inat_ray.config.batch_scaling import ScalingRule, scaled_batch
from inat_ray.config.code import checked_code, name_code
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.config.resources import Resources
from inat_ray.log.lock import alive_in
from inat_ray.run.claim import begin_run, claimed_or_reclaimed
from inat_ray.run.code import admitted, keep_code
from inat_ray.run.fetch import run_here
from inat_ray.run.folder import RunFolder
from inat_ray.run.weights import with_reachable_weights
from inat_ray.terminal.say import note

if TYPE_CHECKING:
    from inat_ray.data.dataset import DataSet
    from inat_ray.log.history import TrialHistory
    from inat_ray.log.run_log import RunLog
    from inat_ray.run.checkpoints import StartingPoint

TRIAL = "train"
"""The name of the one training of a run in its log."""


def main(
    context: typer.Context,
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
        ScalingRule | None,
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
    code: options.Code = None,
    changed_code: options.ChangedCode = False,
    verbose: options.Verbose = False,
) -> None:
    """Train one configuration and keep its best epoch by validation accuracy.

    Example: inat-ray train cnn_best --data ~/inaturalist_12K --test
    """
    options.set_verbosity(verbose=verbose)
    name_code(code, changed=changed_code)
    options.say_reading("train", resume or experiment or "the default settings")
    port = options.tensorboard_port(wanted=tensorboard, port=tensorboard_port)
    given = options.given(data=data, seed=seed, track=track)
    given |= options.given(workers=workers, gpus_per_worker=gpus_per_worker)
    if resume is None:
        given |= options.storage_option(storage_path)
    else:
        out = _resumed(resume, out, context)
        experiment = RunFolder(out).experiment
    config = load_experiment(experiment, settings=settings or (), options=given)
    config = checked_code(config) if resume else admitted(config, experiment)
    if scale_batch is not None:
        config = scaled_batch(config, scale_batch)
    _, result = run_training(
        out,
        config,
        resumed=resume is not None,
        overwrite=overwrite,
        test=test,
        address=address,
        tensorboard_port=port,
        verbose=verbose,
    )
    if as_json:
        options.print_json(result)


def _resumed(resume: str, out: Path | None, context: typer.Context) -> Path:
    """Returns the folder of a run that goes on. Raises UserError if an option would change it."""
    own = {"experiment", "data", "seed", "settings", "overwrite", "scale_batch", "storage_path"}
    if own & options.written(context).keys():
        raise UserError(
            f"--resume {resume}: goes on with the run's own experiment and storage;"
            " only --workers, --gpus-per-worker, --code, --test and --json may stand beside it"
        )
    folder = run_here(resume, out)
    if not RunFolder(folder).experiment.exists():
        raise UserError(f"--resume {resume}: holds no run")
    return folder


def run_training(
    folder: Path | None,
    config: Experiment,
    *,
    resumed: bool = False,
    overwrite: bool = False,
    test: bool = False,
    address: str | None = None,
    tensorboard_port: int | None = None,
    verbose: bool = False,
) -> tuple[Path, dict[str, Any]]:
    """Trains in the folder (None: the default one), and returns the run's folder and its result."""
    from inat_ray.config.trial import with_parameters

    config = with_parameters(config, {})  # an image size that a search would leave to its trials
    claim = claimed_or_reclaimed(folder, config, is_new=not resumed, overwrite=overwrite)
    with claim as run, ExitStack() as at_work:
        # Imported only now: they take seconds, and a mistake in the options is answered at once.
        with options.loading("torch"):
            from inat_ray.boards.trackers import check_trackers
            from inat_ray.data.dataset import open_dataset
            from inat_ray.models.build import check_model
            from inat_ray.run.result import finish_run
            from inat_ray.run.split import keep_split
            from inat_ray.terminal.announcements import (
                announce,
                announce_training,
                show_next_steps,
                show_result,
            )
            from inat_ray.tuning.engine import ray_if_needed

        console = options.console()
        for text in check_model(config):
            note(console, text)
        check_trackers(config)
        with ray_if_needed(config, address=address, verbose=verbose) as resources:
            data = open_dataset(config.data, progress=True)
            if not resumed:
                begin_run(run, config)
            keep_code(run, config)
            keep_split(run, data)
            # Until the run is finished, which it is after Ray has ended.
            at_work.enter_context(alive_in(run.storage))
            announce(console, run=run, data=data)
            announce_training(console, config, data)
            result = _train(
                config,
                data=data,
                run=run,
                resources=resources,
                resumed=resumed,
                test=test,
                port=tensorboard_port,
            )
        finish_run(run, result=result, model=config)
        show_result(console, run=run, result=result)
        show_next_steps(console, run=run)
    return run.path, result


def _train(
    config: Experiment,
    *,
    data: "DataSet",
    run: RunFolder,
    resources: Resources,
    resumed: bool,
    test: bool,
    port: int | None,
) -> dict[str, Any]:
    """Trains, with the run's log, and returns the result."""
    from inat_ray.boards.observed_log import observed_log
    from inat_ray.run.checkpoints import BEGINNING
    from inat_ray.run.result_content import look_result, training_result
    from inat_ray.run.test_set import look_at_test
    from inat_ray.search.agenda import run_started
    from inat_ray.terminal.announcements import interruption_announced
    from inat_ray.training.checkpoint import load_model, temperatures_in
    from inat_ray.training.device import resolve_device
    from inat_ray.tuning.engine import data_for
    from inat_ray.tuning.resumed_training import point_to_resume

    console = options.console()
    start = point_to_resume(run, trial_id=TRIAL) if resumed else BEGINNING
    observed = observed_log(run, console, experiment=config, resumed=resumed, tensorboard_port=port)
    with (
        interruption_announced(console, run=run),
        data_for(resources, data, run=run, tell=partial(note, console)) as everywhere,
        observed as log,
    ):
        if not resumed:
            log.append(run_started(config))
        trial = _recorded(
            config, data=everywhere, run=run, log=log, resources=resources, start=start
        )
        result = training_result(trial, experiment=config, data=data)
        run.fetch_model()
        result["temperatures"] = list(temperatures_in(run.model))
        result["workers"] = config.resources.workers_per_trial
        if test:
            model = load_model(run.model)
            device = resolve_device(model.experiment.device)
            look = look_at_test(model, data=data, device=device, run=run, log=log)
            result |= look_result(look)
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
    """Trains from `start` to the end, epoch by epoch in the log."""
    from inat_ray.training.loop import train_to_the_end
    from inat_ray.tuning.engine import engine
    from inat_ray.tuning.single_training import record_training, training_job

    is_alone = resources.workers_per_trial == 1
    reachable = config if is_alone else with_reachable_weights(config, run=run)
    job = training_job(reachable, data=data, run=run, name=TRIAL)
    done = start.epochs_done
    with engine(resources, config, storage=run.shared, progress=True) as trainer:
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


if __name__ == "__main__":
    options.run(main)
