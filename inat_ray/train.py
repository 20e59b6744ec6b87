"""python -m inat_ray.train: one configuration, trained on one device."""

from pathlib import Path
from typing import Annotated, Any

import typer

from inat_ray import options
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.tuning.run_folder import check_free, create_run, default_folder


def main(
    experiment: options.ExperimentFile = None,
    data: options.Data = None,
    settings: options.Set = None,
    seed: options.Seed = None,
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    workers: Annotated[
        int, typer.Option(min=1, max=1, help="Training processes; this version trains in one.")
    ] = 1,
    test: Annotated[
        bool, typer.Option("--test", help="Look at the test set, once, with the best epoch.")
    ] = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> None:
    """Train one configuration and keep its best epoch by validation accuracy.

    Example: python -m inat_ray.train experiments/cnn_best.yaml --data ~/inaturalist_12K --test
    """
    options.set_verbosity(verbose=verbose)
    config = load_experiment(
        experiment,
        settings=settings or (),
        options=options.data_options(data=data, seed=seed),
    )
    folder = out or default_folder(config.name)
    check_free(folder, overwrite=overwrite)
    result = run_training(config, folder=folder, overwrite=overwrite, test=test)
    if as_json:
        options.print_json(result)


def run_training(
    config: Experiment, *, folder: Path, overwrite: bool, test: bool
) -> dict[str, Any]:
    """Trains in this process, leaves the run in `folder`, and returns its result."""
    # Imported only now: they take seconds, and a mistake in the options is answered at once.
    from inat_ray.data.dataset import open_dataset
    from inat_ray.inspection.ending import announce, conclude, told_of_interruption
    from inat_ray.inspection.observed import observed_log
    from inat_ray.training.checkpoint import load_model
    from inat_ray.training.device import resolve_device
    from inat_ray.training.fit import Fit
    from inat_ray.training.single import train_keeping_best
    from inat_ray.tuning.look import look_at_test
    from inat_ray.tuning.record import record_training, single_run_started
    from inat_ray.tuning.result import look_result, training_result

    console = options.console()
    device = resolve_device(config.device)
    dataset = open_dataset(config.data, progress=True)
    run = create_run(folder, config, overwrite=overwrite)
    announce(console, run=run, data=dataset)
    with told_of_interruption(console, run=run), observed_log(run, console) as log:
        log.append(single_run_started(config))
        fit = Fit(config, dataset, device=device)
        trial = record_training(
            train_keeping_best(fit, metric=config.search.metric, model_path=run.model),
            log=log,
            trial_id="train",
            purpose="search",
            experiment=config,
            parameters={},
        )
        result = training_result(trial, experiment=config, data=dataset)
        if test:
            model = load_model(run.model)
            look = look_at_test(model, data=dataset, device=device, run=run, log=log)
            result |= look_result(look)
    conclude(console, run=run, result=result, model=config)
    return result


if __name__ == "__main__":
    options.run(main)
