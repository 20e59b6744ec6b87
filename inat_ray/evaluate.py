"""python -m inat_ray.evaluate: how good a saved model is on a split, and how it fails."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from inat_ray import options
from inat_ray.config.code import check_named, name_code
from inat_ray.config.difference import check_used, differences
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import override
from inat_ray.data.progress import waiting
from inat_ray.data.split import SubsetName
from inat_ray.run.claim import begin_run, check_free, claimed, reclaimed
from inat_ray.run.folder import RunFolder, model_file

if TYPE_CHECKING:
    import torch

    from inat_ray.data.dataset import DataSet
    from inat_ray.training.checkpoint import LoadedModel
    from inat_ray.training.predictions import Predictions
    from inat_ray.training.scores import Assessment


def main(
    model: options.Model,
    data: options.Data = None,
    split: Annotated[
        SubsetName | None,
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
    code: options.Code = None,
    changed_code: options.ChangedCode = False,
    verbose: options.Verbose = False,
) -> None:
    """Evaluate a saved model: every image once, not augmented, the loss without smoothing.

    The run folder gets the predictions (Parquet), the numbers (result.json) and a page
    (report.html) with scores by class, confusions, calibration and pictures. Data and split are
    those that the model was trained with, unless --data or --set change them.

    --set changes the size of images (data.image_size) and the average over mirror images
    (recipe.flip_average), too, but not for the test images.

    Example: inat-ray evaluate runs/quickstart --split train
    """
    options.set_verbosity(verbose=verbose)
    name_code(code, changed=changed_code)
    options.say_reading("evaluate", model)
    if test and split not in (None, "test"):
        raise UserError(f"--test: looks at the test images, and --split {split} at others")
    subset: SubsetName = "test" if test else split or "validation"
    path = model_file(model)
    if out is not None:
        check_free(out, overwrite=overwrite)
        if path.resolve().is_relative_to(out.resolve()):
            raise UserError(f"--out {out}: holds the model; choose another folder")
    # Imported only now: they take seconds, and a mistake above is answered at once.
    with options.loading("torch"):
        from inat_ray.data.dataset import open_dataset
        from inat_ray.run.result import write_result
        from inat_ray.run.result_content import assessment_result
        from inat_ray.run.split import keep_split
        from inat_ray.terminal.announcements import announce
        from inat_ray.training.checkpoint import load_model
        from inat_ray.training.device import resolve_device
        from inat_ray.training.predictions import read_predictions
        from inat_ray.training.scores import assess

    loaded = load_model(path)
    check_named(*loaded.members)
    given = options.given(data=data, seed=seed)
    config = override(loaded.experiment, settings=settings or (), options=given)
    device = resolve_device(config.device)
    others = data is not None or config.data != loaded.experiment.data
    loaded = _as_set(loaded, config, subset=subset)
    with claimed(out, config, name="evaluate", overwrite=overwrite) as run:
        dataset = open_dataset(config.data, progress=True, build=others)
        loaded.check_classes(dataset)
        home = RunFolder(loaded.path.parent)
        # A look at the test set belongs to the run that the model comes from, if it lies in one.
        is_of_home = subset == "test" and home.holds_a_run
        with reclaimed(home.path) if is_of_home else nullcontext(run) as keeper:
            begin_run(run, config)
            keep_split(run, dataset)
            announce(options.console(), data=dataset, run=run)
            with waiting(f"evaluating the {subset} images", console=options.console()):
                numbers, kept = _evaluated(loaded, subset, data=dataset, run=keeper, device=device)
        predictions = read_predictions(kept)
        assessment = assess(predictions)
        result = write_result(
            numbers
            | assessment_result(assessment, subset=subset)
            | _size(loaded)
            | {"temperatures": list(loaded.temperatures)}
            | {"predictions": str(kept)},
            run.result,
        )
        _show(predictions, assessment, result=result, run=run)
        with waiting("drawing the report", console=options.console()):
            _write_page(loaded, predictions, subset=subset, data=dataset, result=result, run=run)
    if as_json:
        options.print_json(result)


VIEWS = ("data.image_size", "data.pack_size", "data.fit", "recipe.flip_average")
"""Settings of what a model is shown of an image."""

OF_AN_EVALUATION = (*VIEWS, "data.", "name", "seed", "recipe.precision", "recipe.channels_last")


def _as_set(model: "LoadedModel", experiment: Experiment, *, subset: SubsetName) -> "LoadedModel":
    """Returns the model as it evaluates images with other settings.

    Raises UserError where they have no part in that, where the model takes no images of that size,
    and on the test images: settings are compared on validation.
    """
    from inat_ray.models.build import structure_of

    changes = differences(model.experiment, experiment)
    check_used(changes, used=OF_AN_EVALUATION, by="an evaluation of this model")
    for change in changes:
        if subset == "test" and change.startswith(VIEWS):
            raise UserError(
                f"--set {change}: the test is of a model as it was trained and chosen; compare"
                " settings with --split validation, and train with the better one"
            )
    if experiment.image_size != model.experiment.image_size:
        structure_of(model.model, experiment, classes=len(model.classes))
    return replace(model, experiment=experiment)


def _size(model: "LoadedModel") -> dict[str, int]:
    from inat_ray.models.complexity import complexity

    shown = {"data": model.experiment.data}
    members = [each.model_copy(update=shown) for each in model.members]
    sizes = [complexity(member, classes=len(model.classes)) for member in members]
    return {name: sum(getattr(each, name) for each in sizes) for name in ("parameters", "macs")}


def _evaluated(
    model: "LoadedModel",
    subset: SubsetName,
    *,
    data: "DataSet",
    run: RunFolder,
    device: "torch.device",
) -> tuple[dict[str, Any], Path]:
    """Returns accuracy and loss on a subset, and the file of its predictions, which `run` keeps.

    A look at the test set is counted there, too.
    """
    from inat_ray.log.run_log import RunLog
    from inat_ray.run.result_content import evaluation_result, look_result
    from inat_ray.run.test_set import look_at_test
    from inat_ray.training.predictions import predictions_of, write_predictions

    if subset != "test":
        evaluation = model.evaluate(data, subset, device=device)
        path = run.path / f"{subset}_predictions.parquet"
        write_predictions(predictions_of(evaluation, data=data, subset=subset), path)
        return evaluation_result(evaluation.tally, subset=subset), path
    with RunLog(run.log, storage=run.storage, is_claimed=run.is_claimed) as log:
        look = look_at_test(model, data=data, device=device, run=run, log=log)
        result = look_result(look) | {"test_looks": len(log.history.looks)}
    return result, run.path / look.predictions


def _write_page(
    model: "LoadedModel",
    predictions: "Predictions",
    *,
    subset: SubsetName,
    data: "DataSet",
    result: dict[str, Any],
    run: RunFolder,
) -> None:
    from inat_ray.page.explanation import explanation_section
    from inat_ray.page.html import write_page
    from inat_ray.page.model_sections import model_sections

    sections = model_sections(predictions, subset=subset, data=data, result=result)
    write_page(
        run.report,
        title=f"{model.experiment.name} on the {subset} images",
        lead=f"The model {model.path}, evaluated on {len(predictions):,} images that were seen"
        " once each, without augmentation.",
        sections=[*sections, explanation_section(model, data)],
    )


def _show(
    predictions: "Predictions", assessment: "Assessment", *, result: dict[str, Any], run: RunFolder
) -> None:
    """Prints the result, the classes, what is confused, and where the page is."""
    from inat_ray.terminal.model_tables import class_table, confusions_table, result_table

    console = options.console()
    console.print(result_table(result))
    console.print(class_table(assessment))
    if not predictions.correct.all():
        console.print(confusions_table(predictions))
    console.print(f"Report: [bold]{escape(str(run.report))}[/]", soft_wrap=True)


if __name__ == "__main__":
    options.run(main)
