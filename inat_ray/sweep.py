"""python -m inat_ray.sweep: search, then the winner's model and one look at the test set."""

from pathlib import Path
from typing import Annotated

import typer

from inat_ray import options
from inat_ray.config.errors import UserError
from inat_ray.config.load import load_experiment
from inat_ray.config.space import search_space
from inat_ray.tuning.run_folder import check_free, create_run, default_folder

QUICKSTART = Path(__file__).parents[1] / "experiments" / "quickstart.yaml"


def main(
    experiment: options.ExperimentFile = QUICKSTART,
    data: options.Data = None,
    trials: Annotated[int | None, typer.Option(metavar="N", help="How many trials.")] = None,
    settings: options.Set = None,
    seed: options.Seed = None,
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> None:
    """Search hyperparameters on Ray Tune; train the winner; look at the test set once.

    Without EXPERIMENT: experiments/quickstart.yaml, on pictures drawn by code.

    Example: python -m inat_ray.sweep experiments/cnn_bayes.yaml --data ~/inaturalist_12K
    """
    options.set_verbosity(verbose=verbose)
    given = options.data_options(data=data, seed=seed)
    if trials is not None:
        given["search.trials"] = ("--trials", trials)
    config = load_experiment(experiment, settings=settings or (), options=given)
    space = search_space(config, where=str(experiment))
    if not space.parameters:
        raise UserError(f"{experiment}: search.parameters: is empty; name at least one to vary")
    folder = out or default_folder(config.name)
    check_free(folder, overwrite=overwrite)
    # Imported only now: they take seconds, and a mistake above is answered at once.
    from inat_ray.data.dataset import open_dataset
    from inat_ray.data.sources import check_source
    from inat_ray.inspection.ending import announce, conclude, told_of_interruption
    from inat_ray.inspection.observed import observed_log
    from inat_ray.models.build import check_weights
    from inat_ray.training.device import resolve_device
    from inat_ray.tuning.cluster import final_resources, ray_session, trial_resources
    from inat_ray.tuning.runner import run_search
    from inat_ray.tuning.search_end import finish_search

    console = options.console()
    device = resolve_device(config.device)
    check_source(config.data)
    check_weights(config)
    console.print("[dim]starting the trials' processes[/]")
    with ray_session(verbose=verbose):
        trial_resources(config)
        final_resources(config)
        dataset = open_dataset(config.data, progress=True)
        run = create_run(folder, config, overwrite=overwrite)
        announce(console, run=run, data=dataset)
        with told_of_interruption(console, run=run), observed_log(run, console) as log:
            run_search(config, space=space, data=dataset, run=run, log=log)
            winner, result = finish_search(config, data=dataset, run=run, log=log, device=device)
    conclude(console, run=run, result=result, model=winner)
    if as_json:
        options.print_json(result)


if __name__ == "__main__":
    options.run(main)
