"""python -m inat_ray.evaluate: how good a saved model is on a split, and how it fails."""

from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from inat_ray import options
from inat_ray.config.errors import UserError
from inat_ray.config.load import override
from inat_ray.run.folder import (
    RunFolder,
    begin_run,
    check_free,
    claimed,
    model_file,
    reclaimed,
)

if TYPE_CHECKING:
    import torch

    from inat_ray.data.dataset import DataSet
    from inat_ray.training.checkpoint import LoadedModel
    from inat_ray.training.predictions import Predictions


class Split(StrEnum):
    """The test set's looks are counted; the others may be looked at as often as one likes."""

    VALIDATION = "validation"
    TRAIN = "train"
    TEST = "test"


def main(
    model: options.Model,
    data: options.Data = None,
    split: Annotated[
        Split | None,
        typer.Option(
            help="Which images; the run records each look at the test set.",
            show_default="validation",
        ),
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="The same as --split test.")] = False,
    settings: options.Set = None,
    seed: options.Seed = None,
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> None:
    """Evaluate a saved model: every image once, not augmented, the loss without smoothing.

    The run folder gets the predictions (Parquet), the numbers (result.json) and a page
    (report.html) with scores by class, confusions, calibration and pictures. Data and split are
    those that the model was trained with, unless --data or --set change them.

    Example: inat-ray evaluate runs/quickstart --split train
    """
    options.set_verbosity(verbose=verbose)
    subset = _subset(split, test=test)
    path = model_file(model)
    if out is not None:
        check_free(out, overwrite=overwrite)
        if path.resolve().is_relative_to(out.resolve()):
            raise UserError(f"--out {out}: holds the model; choose another folder")
    # Imported only now: they take seconds, and a mistake above is answered at once.
    from inat_ray.data.dataset import open_dataset
    from inat_ray.run.result import write_result
    from inat_ray.terminal.announcements import announce
    from inat_ray.training.checkpoint import load_model
    from inat_ray.training.device import resolve_device
    from inat_ray.training.predictions import read_predictions

    loaded = load_model(path)
    config = override(
        loaded.experiment,
        settings=settings or (),
        options=options.data_options(data=data, seed=seed),
    )
    device = resolve_device(config.device)
    with claimed(out, config, name="evaluate", overwrite=overwrite) as run:
        dataset = open_dataset(config.data, progress=True, build=data is not None)
        loaded.check_classes(dataset)
        with _keeper(loaded, subset, run=run) as keeper:
            begin_run(run, config)
            announce(options.console(), data=dataset, run=run)
            if subset is Split.TEST:
                result, kept = look(loaded, data=dataset, device=device, run=keeper)
            else:
                result, kept = evaluate(loaded, subset, data=dataset, device=device, run=keeper)
        predictions = read_predictions(kept)
        result |= numbers(loaded, predictions, subset=subset) | {"predictions": str(kept)}
        result = write_result(result, run.result)
        report(loaded, predictions, subset=subset, data=dataset, result=result, path=run.report)
        show(predictions, result=result, path=run.report)
    if as_json:
        options.print_json(result)


def evaluate(
    model: "LoadedModel", split: Split, *, data: "DataSet", device: "torch.device", run: RunFolder
) -> tuple[dict[str, Any], Path]:
    """Accuracy and loss on a split, and the file of its predictions."""
    from inat_ray.run.result_content import evaluation_result
    from inat_ray.run.test_set import evaluate_split

    subset: Literal["train", "validation"] = "train" if split is Split.TRAIN else "validation"
    metrics, path = evaluate_split(model, data=data, subset=subset, device=device, run=run)
    return evaluation_result(metrics, subset=subset), path


def look(
    model: "LoadedModel", *, data: "DataSet", device: "torch.device", run: RunFolder
) -> tuple[dict[str, Any], Path]:
    """A look at the test set, counted by `run`, which keeps the predictions, too."""
    from inat_ray.log.run_log import RunLog
    from inat_ray.run.result_content import look_result
    from inat_ray.run.test_set import look_at_test

    with RunLog(run.log, storage=run.storage, is_claimed=run.is_claimed) as log:
        record = look_at_test(model, data=data, device=device, run=run, log=log)
        result = look_result(record) | {"test_looks": len(log.history.looks)}
    return result, run.path / record.predictions


def _keeper(
    model: "LoadedModel", subset: Split, *, run: RunFolder
) -> AbstractContextManager[RunFolder]:
    """The run that keeps the predictions, for this process alone.

    A look at the test set belongs to the run that the model comes from, if it lies in one.
    """
    home = RunFolder(model.path.parent)
    if subset is Split.TEST and home.holds_a_run:
        return reclaimed(home.path)
    return nullcontext(run)


def numbers(model: "LoadedModel", predictions: "Predictions", *, subset: Split) -> dict[str, Any]:
    """What of the result follows from the predictions, and the size of the model."""
    from inat_ray.models.complexity import complexity
    from inat_ray.run.result_content import assessment_result
    from inat_ray.training.assessment import assess

    size = complexity(model.experiment, classes=len(model.classes))
    return assessment_result(assess(predictions), subset=subset.value) | {
        "parameters": size.parameters,
        "macs": size.macs,
    }


def report(
    model: "LoadedModel",
    predictions: "Predictions",
    *,
    subset: Split,
    data: "DataSet",
    result: dict[str, Any],
    path: Path,
) -> None:
    """Writes the page."""
    from inat_ray.page.explanation import explanation_section
    from inat_ray.page.html import write_page
    from inat_ray.page.model import model_sections

    sections = model_sections(predictions, subset=subset.value, data=data, result=result)
    write_page(
        path,
        title=f"{model.experiment.name} on the {subset} images",
        lead=f"The model {model.path}, evaluated on {len(predictions):,} images that were seen"
        " once each, without augmentation.",
        sections=[*sections, explanation_section(model, data)],
    )


def show(predictions: "Predictions", *, result: dict[str, Any], path: Path) -> None:
    """The result, the classes, what is confused, and where the page is."""
    from rich.markup import escape

    from inat_ray.terminal.model_tables import class_table, confusions_table, result_table
    from inat_ray.training.assessment import assess

    console = options.console()
    console.print(result_table(result))
    console.print(class_table(assess(predictions)))
    if not predictions.correct.all():
        console.print(confusions_table(predictions))
    console.print(f"Report: [bold]{escape(str(path))}[/]", soft_wrap=True)


def _subset(split: Split | None, *, test: bool) -> Split:
    """Raises UserError where the two options ask for different images."""
    if test and split not in (None, Split.TEST):
        raise UserError(f"--test: looks at the test images, and --split {split} at others")
    return Split.TEST if test else split or Split.VALIDATION


if __name__ == "__main__":
    options.run(main)
