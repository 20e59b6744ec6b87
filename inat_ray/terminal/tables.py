"""The look that the terminal's tables share, built from rich's columns."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rich import box
from rich.cells import cell_len
from rich.markup import escape
from rich.table import Column, Table

from inat_ray.log.records import JSON
from inat_ray.terminal.words import short_names, value_text

Columns = Mapping[str, Sequence[str]]
"""Title -> cells, as plain text."""

NONE: Columns = MappingProxyType({})

EDGE, GAP = 1, 2
"""The characters before the first column of a `plain_table`, and those behind each."""


def plain_table(*columns: Column | str, title: str | None = None, gap: int = 1) -> Table:
    """Returns a table with a line below its header. Columns that are given as text do not wrap."""
    headers = [Column(each, no_wrap=True) if isinstance(each, str) else each for each in columns]
    return Table(
        *headers,
        title=title,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, gap, 0, 0),
    )


def numbers(title: str) -> Column:
    """Returns a column that is aligned on the right."""
    return Column(title, justify="right", no_wrap=True)


def folded(title: str) -> Column:
    """Returns a column for names, which breaks a long one over lines."""
    return Column(title, overflow="fold")


def parameter_columns(points: Sequence[Mapping[str, JSON]], names: Sequence[str]) -> Columns:
    """Returns a column for each parameter, by its short name; - where a point does not have it."""
    return {
        short: [value_text(point[name]) if name in point else "-" for point in points]
        for name, short in short_names(names).items()
    }


def that_fit(columns: Columns, *, room: int) -> Columns:
    """Returns the columns that `room` characters hold, the first ones first.

    One that is too wide is left out, and narrower ones behind it may take its place.
    """
    shown = {}
    for title, cells in columns.items():
        if (taken := room_of({title: cells})) <= room:
            shown[title] = cells
            room -= taken
    return shown


def room_of(columns: Columns) -> int:
    """Returns how many characters columns take."""
    widths = (max(map(cell_len, (title, *cells))) for title, cells in columns.items())
    return sum(width + GAP for width in widths)


def also_searched(parameters: Columns, shown: Columns) -> str | None:
    """Returns a line with the names of the parameters that have no column; None if all have."""
    hidden = [name for name in parameters if name not in shown]
    return f"also searched: {', '.join(hidden)}" if hidden else None


def parameters_table(
    columns: Columns,
    *,
    parameters: Columns,
    more: Columns = NONE,
    width: int,
    title: str | None = None,
) -> Table:
    """Returns a table in `width` characters; its caption names the parameters that it lacks.

    It has all of the columns, then as many of the parameters as there is room for, and then of
    `more` what they leave room for.
    """
    room = width - EDGE - room_of(columns)
    shown = that_fit(parameters, room=room)
    rest = that_fit(more, room=room - room_of(shown))
    dim = (Column(name, no_wrap=True, style="dim") for name in shown)
    table = plain_table(*columns, *dim, *rest, title=title)
    for row in zip(*columns.values(), *shown.values(), *rest.values(), strict=True):
        table.add_row(*map(escape, row))
    table.caption = also_searched(parameters, shown)
    return table
