"""The look that the terminal's tables share, built from rich's columns."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Column, Table

from inat_ray.log.records import JSON
from inat_ray.terminal.words import cells_text, parameters_text, short_names

NARROWEST_PARAMETERS = 20
"""The fewest characters for a column of all parameters; below it, other columns make room."""


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


def parameters_table(
    *columns: str,
    rows: Sequence[tuple[Sequence[str], Mapping[str, JSON]]],
    names: Sequence[str],
    width: int,
    title: str,
    spare: int = 0,
) -> Table:
    """Returns a table of `rows`: each row's cells, then its values of the parameters `names`.

    Every parameter has a column if `width` characters hold that; otherwise they share one, and the
    last `spare` columns before it are left out if too little room is left for them.
    """
    titles = [Column(name, no_wrap=True, style="dim") for name in short_names(names).values()]
    apart = plain_table(*columns, *titles, title=title)
    together = plain_table(*columns, Column("parameters", style="dim"), title=title)
    alone = plain_table(*columns)
    for cells, parameters in rows:
        apart.add_row(*cells, *cells_text(parameters, names))
        together.add_row(*cells, parameters_text(parameters))
        alone.add_row(*cells)
    # Measured on a console without end, since a table takes no more than its console has.
    endless = Console(width=10 * width)
    if endless.measure(apart).maximum <= width:
        return apart
    if spare and width - endless.measure(alone).maximum < NARROWEST_PARAMETERS:
        fewer = [(cells[:-spare], parameters) for cells, parameters in rows]
        kept = columns[:-spare]
        return parameters_table(*kept, rows=fewer, names=names, width=width, title=title)
    return together
