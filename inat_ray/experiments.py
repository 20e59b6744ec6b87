"""python -m inat_ray.experiments: the experiments that come with inat_ray."""

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from inat_ray import options
from inat_ray.config.shipped import AUTO, copy_experiment, shipped_experiments


def main(
    copy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Copy this one here, with those that it extends."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the experiments that come with inat_ray; each can be run by its name.

    Example: inat-ray experiments --copy cnn_bayes
    """
    if copy is not None:
        copies = copy_experiment(copy, Path())
        for path in copies:
            options.say("written", path)
        if as_json:
            options.print_json({"copied": [str(path) for path in copies]})
        return
    rows = [(AUTO, "for `sweep`: what suits your images, machine and time", "photographs")]
    rows += [(each.name, each.about, each.needs) for each in shipped_experiments()]
    table = Table("name", "what it is", "needs", box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*row)
    options.console().print(table)
    if as_json:
        keys = ("name", "about", "needs")
        options.print_json({"experiments": [dict(zip(keys, row, strict=True)) for row in rows]})


if __name__ == "__main__":
    options.run(main)
