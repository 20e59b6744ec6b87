"""What the terminal's tables have in common."""

from collections.abc import Callable

from rich import box
from rich.console import Console
from rich.table import Table


def plain_table(title: str | None = None, *columns: str, gap: int = 1) -> Table:
    """A table with a line below its header; `columns` do not wrap."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, gap, 0, 0))
    table.caption_justify = "left"
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def widest_that_fits(table_of: Callable[[bool], Table], width: int) -> Table:
    """`table_of(True)`, a column for each parameter, if `width` characters hold it.

    Otherwise `table_of(False)`, where the parameters share a column.
    """
    apart = table_of(True)
    fits = Console(width=10 * width).measure(apart).maximum <= width
    return apart if fits else table_of(False)


def add_parameter_columns(table: Table, names: list[str], *, apart: bool) -> None:
    """A column for each parameter (`apart`), or one for all, which wraps."""
    for title in names if apart else ["parameters"]:
        table.add_column(title, no_wrap=apart, style="dim")
