"""A model's predictions for photographs, as tables for the terminal."""

import os
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from inat_ray.data.names import as_text, shown_name
from inat_ray.terminal.tables import EDGE, GAP, folded, numbers, plain_table, room_of
from inat_ray.terminal.words import percent
from inat_ray.training.predict import Predicted

SHOWN_IMAGES = 40

BAR = 20
"""Characters of the bar for a probability of 1."""


def shown_predictions(
    predicted: Sequence[Predicted], classes: Sequence[str], *, top: int, width: int = 80
) -> RenderableType:
    """Returns a line for each class of a single photograph, or a line for each photograph."""
    if len(predicted) == 1:
        name = Text(predicted[0].name, style="bold")
        return Group(name, _one(predicted[0], classes, top=top))
    table = _many(predicted[:SHOWN_IMAGES], classes, top=top, width=width)
    return Group(table, Text(_counts(predicted, classes)))


def _one(predicted: Predicted, classes: Sequence[str], *, top: int) -> Table:
    table = plain_table(Column("class"), numbers("probability"), "", gap=2)
    for name, probability in predicted.top(top, classes):
        bar = "█" * round(BAR * probability)
        table.add_row(escape(shown_name(name)), percent(probability), bar)
    return table


def _many(predicted: Sequence[Predicted], classes: Sequence[str], *, top: int, width: int) -> Table:
    folder = _shared_folder([each.path.parent for each in predicted])
    names = [shown_name(as_text(os.path.relpath(e.path, folder or "."))) for e in predicted]
    told = [
        [(shown_name(name), percent(p)) for name, p in each.top(top, classes)] for each in predicted
    ]
    columns = {
        "photograph": names,
        "class": [best for (best, _), *_ in told],
        "probability": [probability for (_, probability), *_ in told],
    }
    room = width - EDGE - room_of(columns) - GAP
    title = f"in {escape(as_text(folder))}" if folder else None
    table = plain_table(folded("photograph"), "class", numbers("probability"), title=title)
    if top > 1:
        table.add_column("then", style="dim", no_wrap=True)
    for *row, (_, *others) in zip(*columns.values(), told, strict=True):
        then = _fitted([" ".join(other) for other in others], room=room)
        table.add_row(*map(escape, row), *([escape(then)] if top > 1 else []))
    return table


def _fitted(texts: Sequence[str], *, room: int) -> str:
    """Returns the first of the texts, as many as `room` characters hold; at least one."""
    shown = list(accumulate(texts, "{}, {}".format))
    return max((text for text in shown if cell_len(text) <= room), default=shown[0], key=len)


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
