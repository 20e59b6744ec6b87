"""python -m inat_ray.ensemble: several saved models as one."""

from pathlib import Path
from typing import Annotated

import typer

from inat_ray import options
from inat_ray.config.code import check_named, name_code
from inat_ray.run.folder import model_file


def main(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL...", help="Two or more: best.safetensors, or their runs."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The new model.")] = Path(
        "ensemble.safetensors"
    ),
    overwrite: options.OverwriteFile = False,
    code: options.Code = None,
    changed_code: options.ChangedCode = False,
    verbose: options.Verbose = False,
) -> None:
    """Join saved models into one, whose probabilities are the mean of theirs.

    Of the same recipe with several seeds, for one: it may be more accurate than any of them
    (evaluate tells), and is as slow as all of them. They must have the same classes, split and view
    of an image; their networks may differ. evaluate, predict and export take it like any model.

    Example: inat-ray ensemble runs/seed0 runs/seed1 runs/seed2 --out three.safetensors
    """
    options.set_verbosity(verbose=verbose)
    name_code(code, changed=changed_code)
    options.say_reading("ensemble", ", ".join(map(str, models)))
    paths = [model_file(model) for model in models]
    options.check_new_file(out, suffix=".safetensors", overwrite=overwrite)
    # Imported only now: they take seconds, and a mistake above is answered at once.
    with options.loading("torch"):
        from inat_ray.training.checkpoint import load_model
        from inat_ray.training.ensemble import join

    loaded = [load_model(path) for path in paths]
    check_named(*(member for model in loaded for member in model.members))
    join(loaded, out)
    folders = sorted({str(m.data.source) for model in loaded for m in model.members})
    if len(folders) > 1:
        options.say(
            "trained on",
            f"{' and '.join(folders)}: if these are not the same photographs, what one model is"
            " validated on another may have been trained on",
        )
    options.say("written", f"{out}, {len(loaded)} models, {out.stat().st_size / 1e6:.1f} MB")
    options.say("next", f"inat-ray evaluate {out}")


if __name__ == "__main__":
    options.run(main)
