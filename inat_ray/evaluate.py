"""python -m inat_ray.evaluate: accuracy and loss of a saved model on a split."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from inat_ray import options
from inat_ray.config.errors import UserError
from inat_ray.config.load import override
from inat_ray.tuning.run_folder import RunFolder, check_free, create_run, default_folder


class Split(StrEnum):
    """The splits that may be looked at as often as one likes."""

    VALIDATION = "validation"
    TRAIN = "train"


def main(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A best.safetensors, or the run that holds it.")
    ],
    data: options.Data = None,
    split: Annotated[
        Split, typer.Option(help="Which images; for the test set give --test instead.")
    ] = Split.VALIDATION,
    test: Annotated[
        bool, typer.Option("--test", help="Look at the test set; the run records the look.")
    ] = False,
    settings: options.Set = None,
    seed: options.Seed = None,
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> None:
    """Evaluate a saved model: every image once, not augmented, the loss without smoothing.

    Data and split are those that the model was trained with, unless --data or --set change
    them.

    Example: python -m inat_ray.evaluate runs/quickstart --split train
    """
    options.set_verbosity(verbose=verbose)
    path = RunFolder(model).model if model.is_dir() else model
    if not path.exists():
        raise UserError(f"{path}: there is no such model; give a run folder or a .safetensors")
    folder = out or default_folder("evaluate")
    check_free(folder, overwrite=overwrite)
    # Imported only now: they take seconds, and a mistake above is answered at once.
    from inat_ray.data.dataset import open_dataset
    from inat_ray.inspection.ending import announce, print_result
    from inat_ray.training.checkpoint import load_model
    from inat_ray.training.device import resolve_device
    from inat_ray.tuning.look import evaluate_split, look_at_test
    from inat_ray.tuning.result import evaluation_result, look_result, write_result
    from inat_ray.tuning.run_log import RunLog

    loaded = load_model(path)
    config = override(
        loaded.experiment,
        settings=settings or (),
        options=options.data_options(data=data, seed=seed),
    )
    device = resolve_device(config.device)
    dataset = open_dataset(config.data, progress=True)
    loaded.check_classes(dataset)
    run = create_run(folder, config, overwrite=overwrite)
    console = options.console()
    announce(console, data=dataset, run=run)
    if test:
        home = RunFolder(path.parent)
        # The run that the model comes from keeps count of the looks at its test set.
        run = home if home.holds_a_run else run
        with RunLog(run.log) as log:
            look = look_at_test(loaded, data=dataset, device=device, run=run, log=log)
            result = look_result(look) | {"test_looks": len(log.history.looks)}
    else:
        evaluation = evaluate_split(
            loaded, data=dataset, subset=split.value, device=device, run=run
        )
        result = evaluation_result(evaluation.metrics, subset=split.value)
    write_result(result, RunFolder(folder).result)
    print_result(console, result)
    if as_json:
        options.print_json(result)


if __name__ == "__main__":
    options.run(main)
