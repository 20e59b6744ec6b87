"""python -m inat_ray.evaluate: accuracy and loss of a saved model on a split."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from inat_ray import options
from inat_ray.config.errors import UserError
from inat_ray.tuning.run_folder import check_free, default_folder


class Split(StrEnum):
    """The splits that may be looked at as often as one likes."""

    VALIDATION = "validation"
    TRAIN = "train"


def main(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A best.safetensors, or the run that holds it.")
    ],
    data: options.Data = None,
    split: Annotated[Split, typer.Option(help="Which images; for the test set give --test.")] = (
        Split.VALIDATION
    ),
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

    The data and the split are those that the model was trained on, unless --data or --set
    say otherwise.

    Example: python -m inat_ray.evaluate runs/quickstart --split train
    """
    if not model.exists():
        raise UserError(f"{model}: there is no such model or run folder")
    # Imported only now: they take seconds, and a mistake above is answered at once.
    from inat_ray.inspection.evaluation import evaluate_model
    from inat_ray.training.checkpoint import load_model
