"""python -m inat_ray.check: what may be wrong with the photographs of a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inat_ray import options
from inat_ray.config.code import check_named, name_code
from inat_ray.config.errors import UserError
from inat_ray.data.progress import waiting
from inat_ray.run.folder import existing_run
from inat_ray.terminal.say import note
from inat_ray.terminal.words import duration

if TYPE_CHECKING:
    from inat_ray.data.split import SubsetName
    from inat_ray.run.data_check import DataCheck
    from inat_ray.training.predictions import Predictions


def main(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of a run that has a model.")
    ],
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds",
            metavar="K",
            min=2,
            help="Judge the training images too, by K models that are each trained without a Kth.",
        ),
    ] = None,
    data: options.Data = None,
    code: options.Code = None,
    changed_code: options.ChangedCode = False,
    verbose: options.Verbose = False,
) -> None:
    """Say what may be wrong with a run's photographs: labels, near-duplicates, rare classes.

    Labels are judged by the run's model on the validation images, and on the test images by what
    the run has recorded of them. Training images it may know by heart: --folds trains more models.

    Nothing is changed. The run folder gets check.html, with pictures, and two tables:
    labels_to_check.csv and near_duplicates.csv.

    Example: inat-ray check runs/quickstart --folds 5
    """
    options.set_verbosity(verbose=verbose)
    name_code(code, changed=changed_code)
    options.say_reading("check", run)
    existing_run(run)
    # Imported only now: they take seconds, and a mistake above is answered at once.
    with options.loading("torch"):
        from inat_ray.page.data_check import check_sections
        from inat_ray.page.html import write_page
        from inat_ray.terminal.data_check import show_check

    check = _checked(run, folds=folds, source=data)
    check.write(run)
    write_page(
        run / "check.html",
        title=f"The data of {run.resolve().name}",
        lead="What may be wrong with the photographs. Nothing was changed.",
        sections=check_sections(check),
    )
    show_check(options.console(), check, run)
    options.say("page", run / "check.html")


def _checked(path: Path, *, folds: int | None, source: str | None) -> "DataCheck":
    """Judges the data of a run. Raises UserError if its model or photographs are missing."""
    from inat_ray.data.dataset import open_dataset
    from inat_ray.data.near_duplicates import near_duplicates
    from inat_ray.page.reported_run import open_run
    from inat_ray.run.data_check import DataCheck
    from inat_ray.training.device import resolve_device
    from inat_ray.training.out_of_fold import out_of_fold
    from inat_ray.training.predictions import predictions_of

    found = open_run(path, source=source)
    check_named(found.experiment)
    if found.model is None or found.experiment is None:
        raise UserError(f"{path}: {' '.join(found.missing)}")
    model = found.model
    data = found.data
    if data is None:  # opened as `open_run` would have: the model's own validation images
        opened = open_dataset(found.experiment.data, progress=True)
        data = opened.with_validation(model.experiment.data.validation_fraction)
    device = resolve_device(model.experiment.device)
    with waiting("evaluating the validation images", console=options.console()):
        evaluation = model.evaluate(data, "validation", device=device)
    judged: dict[SubsetName, Predictions] = {
        "validation": predictions_of(evaluation, data=data, subset="validation")
    }
    if found.predictions is not None:
        if set(found.predictions.paths) == {data.pack.names[i] for i in data.subset("test")}:
            judged["test"] = found.predictions
        else:
            note(options.console(), "the run has looked at other test images than these")
    if folds is not None:
        for trial in found.history.numbered[-1:]:
            seconds = duration(sum(epoch.seconds for epoch in trial.epochs))
            options.say("folds", f"{folds} trainings; the run's last one took {seconds}")
        judged["train"] = out_of_fold(model.experiment, data, folds=folds, device=device)
    with waiting("looking for near-duplicates", console=options.console()):
        return DataCheck(data, judged, pairs=near_duplicates(data))


if __name__ == "__main__":
    options.run(main)
