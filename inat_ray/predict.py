"""python -m inat_ray.predict: what a saved model sees in photographs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inat_ray import options
from inat_ray.config.code import check_named, name_code
from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.run.folder import model_file

if TYPE_CHECKING:
    from inat_ray.training.predict import Predicted


def main(
    model: options.Model,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE|FOLDER...", help="Photographs, and folders of them."),
    ],
    top: Annotated[
        int, typer.Option("--top", metavar="K", min=1, help="How many classes to show of each.")
    ] = 5,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write all probabilities as Parquet."),
    ] = None,
    device: options.Device = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines, one a photograph, as they are done.")
    ] = False,
    code: options.Code = None,
    changed_code: options.ChangedCode = False,
    verbose: options.Verbose = False,
) -> None:
    """Predict the classes of photographs, each prepared exactly as in training and evaluation.

    Folders are read at any depth; other files are ignored and counted.
    What cannot be read is named and left out. A line of JSON is
    {"image": ..., "prediction": ..., "top": [{"class": ..., "probability": ...}, ...]}
    or {"image": ..., "error": ...}.

    Example: inat-ray predict runs/mine ~/photos/unknown.jpg
    """
    options.set_verbosity(verbose=verbose)
    name_code(code, changed=changed_code)
    options.say_reading("predict", model)
    path = model_file(model)
    if out is not None and out.exists():
        raise UserError(f"--out {out}: is there already")
    # Imported only now: they take seconds, and a mistake above is answered at once.
    with options.loading("torch"):
        from inat_ray.data.progress import tracked
        from inat_ray.terminal.predictions_table import shown_predictions
        from inat_ray.training.checkpoint import load_model
        from inat_ray.training.device import resolve_device
        from inat_ray.training.predict import predict, prediction_file

    console = options.console()
    paths = _photographs(images)
    loaded = load_model(path)
    check_named(*loaded.members)
    good: list[Predicted] = []
    with prediction_file(out, loaded.classes) as write:
        batches = predict(loaded, paths, device=resolve_device(device))
        shown: dict[str, Any] = {"unit": "photographs", "units": len, "console": console}
        for batch in tracked(batches, "predicting", total=len(paths), **shown):
            _tell_unreadable(batch, named=images)
            if as_json:
                for each in batch:
                    options.print_json(_line(each, loaded.classes, top=top))
            write(batch)
            good += [each for each in batch if each.reason is None]
        if not good:
            raise RunFailedError(f"none of {len(paths)} photographs can be read")
    if not as_json:
        console.print(shown_predictions(good, loaded.classes, top=top, width=console.width))
    if out is not None:
        options.say("written", out)


def _photographs(images: list[Path]) -> list[Path]:
    """Returns the photographs that are named, and those in folders; tells what else is there."""
    from inat_ray.data.photographs import photographs_in
    from inat_ray.data.walk import PassedOver, told

    passed_over = PassedOver()
    paths = photographs_in(images, passed_over)
    if passed_over:
        options.say("ignored", told(passed_over))
    return paths


def _tell_unreadable(batch: "Sequence[Predicted]", *, named: list[Path]) -> None:
    """Tells which cannot be read. Raises UserError if it is the only photograph that was named."""
    for each in batch:
        if each.reason is not None and named == [each.path]:
            raise UserError(f"{each.name}: {each.reason}")
        if each.reason is not None:
            options.say("left out", f"{each.name}: {each.reason}", style="yellow")


def _line(predicted: "Predicted", classes: Sequence[str], *, top: int) -> dict[str, Any]:
    if predicted.reason is not None:
        return {"image": predicted.name, "error": predicted.reason}
    best = predicted.top(top, classes)
    return {
        "image": predicted.name,
        "prediction": best[0][0],
        "top": [{"class": name, "probability": probability} for name, probability in best],
    }


if __name__ == "__main__":
    options.run(main)
