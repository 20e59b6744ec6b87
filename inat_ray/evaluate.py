"""python -m inat_ray.evaluate: accuracy and loss of a saved model on a split."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from inat_ray import options
from inat_ray.config.errors import UserError
from inat_ray.config.load import override
from inat_ray.search.run_folder import RunFolder, check_free, create_run, default_folder

if TYPE_CHECKING:
    import torch

    from inat_ray.data.dataset import DataSet
    from inat_ray.training.checkpoint import LoadedModel


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
    from inat_ray.tuning.result import write_result

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
        result = look(loaded, data=dataset, device=device, run=run)
    else:
        result = evaluate(loaded, split, data=dataset, device=device, run=run)
    write_result(result, run.result)
    print_result(console, result)
    if as_json:
        options.print_json(result)


def evaluate(
    model: "LoadedModel", split: Split, *, data: "DataSet", device: "torch.device", run: RunFolder
) -> dict[str, Any]:
    """Accuracy and loss on a split; the predictions go into the run folder."""
    from inat_ray.tuning.look import evaluate_split
    from inat_ray.tuning.result import evaluation_result

    subset: Literal["train", "validation"] = "train" if split is Split.TRAIN else "validation"
    evaluation = evaluate_split(model, data=data, subset=subset, device=device, run=run)
    return evaluation_result(evaluation.metrics, subset=subset)


def look(
    model: "LoadedModel", *, data: "DataSet", device: "torch.device", run: RunFolder
) -> dict[str, Any]:
    """A look at the test set, counted by the run that the model comes from, if it lies in one."""
    from inat_ray.search.run_log import RunLog
    from inat_ray.tuning.look import look_at_test
    from inat_ray.tuning.result import look_result

    home = RunFolder(model.path.parent)
    counting = home if home.holds_a_run else run
    with RunLog(counting.log, storage=counting.storage) as log:
        record = look_at_test(model, data=data, device=device, run=counting, log=log)
        return look_result(record) | {"test_looks": len(log.history.looks)}


if __name__ == "__main__":
    options.run(main)
