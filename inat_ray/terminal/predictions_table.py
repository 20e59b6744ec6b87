"""A model's predictions for photographs, as tables for the terminal."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from inat_ray.data.names import as_text, shown_name
from inat_ray.terminal.tables import folded, numbers, plain_table
from inat_ray.terminal.words import percent
from inat_ray.training.predict import Predicted

SHOWN_IMAGES = 40

BAR = 20
"""Characters of the bar for a probability of 1."""


def shown_predictions(
    predicted: Sequence[Predicted], classes: Sequence[str], *, top: int
) -> RenderableType:
    """Returns a line for each class of a single photograph, or a line for each photograph."""
    if len(predicted) == 1:
        name = Text(predicted[0].name, style="bold")
        return Group(name, _one(predicted[0], classes, top=top))
    table = _many(predicted[:SHOWN_IMAGES], classes, top=top)
    return Group(table, Text(_counts(predicted, classes)))


def _one(predicted: Predicted, classes: Sequence[str], *, top: int) -> Table:
    table = plain_table(Column("class"), numbers("probability"), "", gap=2)
    for name, probability in predicted.top(top, classes):
        bar = "█" * round(BAR * probability)
        table.add_row(escape(shown_name(name)), percent(probability), bar)
    return table


def _many(predicted: Sequence[Predicted], classes: Sequence[str], *, top: int) -> Table:
    folder = _shared_folder([each.path.parent for each in predicted])
    place = folded(f"in {escape(as_text(folder))}" if folder else "")
    others_of_it = [Column("then", style="dim")] if top > 1 else []
    table = plain_table(place, Column("class"), numbers("probability"), *others_of_it, gap=2)
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
    """Returns the innermost folder around all of them; a relative path if all of them are."""
    if any(folder.is_absolute() for folder in folders):
        folders = [folder.absolute() for folder in folders]
    return os.path.commonpath(folders)
