"""python -m inat_ray.export: a saved model as ONNX, or as a program of torch.export."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from inat_ray import options
from inat_ray.config.code import check_named, name_code
from inat_ray.data.progress import waiting
from inat_ray.run.folder import model_file


def main(
    model: options.Model,
    form: Annotated[
        Literal["onnx", "torch"],
        typer.Option("--format", help="onnx: for onnxruntime and others; torch: a .pt2."),
    ] = "onnx",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Beside the model if not given.")
    ] = None,
    overwrite: options.OverwriteFile = False,
    as_json: options.AsJson = False,
    code: options.Code = None,
    changed_code: options.ChangedCode = False,
    verbose: options.Verbose = False,
) -> None:
    """Write a saved model as one file that needs no inat_ray.

    It takes pixels (n, 3, S, S) in 0..1, RGB, and gives probabilities (n, classes): normalization,
    softmax and the average over mirror images are inside. Class names, sizes and how a photograph
    becomes such pixels are in the file as JSON. It is read back and compared before it is kept.

    Load a .pt2 from people whom you trust alone: torch may run code that is in it. ONNX holds none.

    Example: inat-ray export runs/mine --format onnx
    """
    options.set_verbosity(verbose=verbose)
    name_code(code, changed=changed_code)
    options.say_reading("export", model)
    path = model_file(model)
    suffix = ".onnx" if form == "onnx" else ".pt2"
    file = out or path.with_suffix(suffix)
    options.check_new_file(file, suffix=suffix, overwrite=overwrite)
    # Imported only now: they take seconds, and a mistake above is answered at once.
    with options.loading("torch"):
        from inat_ray.training.checkpoint import load_model
        from inat_ray.training.export import TOLERANCE, check_packages, export

    check_packages(form)
    loaded = load_model(path)
    check_named(*loaded.members)
    with waiting(f"writing and checking {file.name}", console=options.console()):
        difference = export(loaded, file, form=form)
    size = file.stat().st_size
    options.say("written", f"{file}, {size / 1e6:.1f} MB")
    same = f"its probabilities are the model's within {difference:.1g} ({TOLERANCE:g} is allowed)"
    options.say("checked", same)
    if as_json:
        options.print_json(
            {
                "file": str(file),
                "format": form,
                "bytes": size,
                "largest_difference": difference,
                "classes": loaded.classes,
            }
        )


if __name__ == "__main__":
    options.run(main)
