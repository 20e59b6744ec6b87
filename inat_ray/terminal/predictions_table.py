"""A model's predictions for photographs, as tables for the terminal."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from inat_ray.data.names import as_text, shown_name
from inat_ray.terminal.words import percent
from inat_ray.training.predict import Predicted

SHOWN_IMAGES = 40

BAR = 20
"""The characters of a bar for a probability of 1."""


def shown_predictions(
    predicted: Sequence[Predicted], classes: Sequence[str], *, top: int
) -> RenderableType:
    """One photograph gets a line for each class; several get a line each, and counts by class."""
    if len(predicted) == 1:
        name = Text(predicted[0].name, style="bold")
        return Group(name, _one(predicted[0], classes, top=top))
    table = _many(predicted[:SHOWN_IMAGES], classes, top=top)
    return Group(table, Text(_counts(predicted, classes)))


def _one(predicted: Predicted, classes: Sequence[str], *, top: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("class")
    table.add_column("probability", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name, probability in predicted.top(top, classes):
        table.add_row(
            escape(shown_name(name)), percent(probability), "█" * round(BAR * probability)
        )
    return table


def _many(predicted: Sequence[Predicted], classes: Sequence[str], *, top: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    folder = _shared_folder([each.path.parent for each in predicted])
    table.add_column(f"in {escape(as_text(folder))}" if folder else "", overflow="fold")
    table.add_column("class")
    table.add_column("probability", justify="right", no_wrap=True)
    if top > 1:
        table.add_column("then", style="dim")
    for each in predicted:
        (best, probability), *others = each.top(top, classes)
        then = ", ".join(f"{escape(shown_name(name))} {percent(p)}" for name, p in others)
        within = as_text(os.path.relpath(each.path, folder or "."))
        row = (escape(shown_name(within)), escape(shown_name(best)), percent(probability))
        table.add_row(*row, *([then] if top > 1 else []))
    return table


def _counts(predicted: Sequence[Predicted], classes: Sequence[str]) -> str:
    counts = Counter(each.top(1, classes)[0][0] for each in predicted)
    text = ", ".join(f"{count:,} {shown_name(name)}" for name, count in counts.most_common())
    hidden = len(predicted) - SHOWN_IMAGES
    more = f"and {hidden:,} more, which --json and --out have; " if hidden > 0 else ""
    return f"{more}{len(predicted):,} photographs: {text}"


def _shared_folder(folders: Sequence[Path]) -> str:
    """The innermost folder around all of them; relative ones where all are."""
    if any(folder.is_absolute() for folder in folders):
        folders = [folder.absolute() for folder in folders]
    return os.path.commonpath(folders)
