"""The parts of the report's page, as HTML: sections of text, tables, pictures, and plots.

A plot is left in the page as data; `page.js` draws it in the colors of the reader's theme.
Whatever comes from a run (names, parameters, errors) is escaped here.
"""

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
import plotly.io
from markupsafe import Markup, escape

Cell = str | float | int | None | Markup
"""In a table, a number is shown as it is and sorted by value; None is shown as a dash."""


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading and a place in its table of contents."""

    title: str
    anchor: str
    """The heading's id: `#anchor` leads to it; unique on the page."""
    body: Markup


@dataclass(frozen=True)
class Number:
    """A cell that is shown as `text` and sorted by `value`."""

    value: float
    text: str


def joined(*parts: Markup) -> Markup:
    """The parts, one after the other."""
    return Markup("\n").join(parts)


def beside(plots: Iterable[Markup]) -> Markup:
    """Plots next to each other, as many as there is room for."""
    return Markup('<div class="plots">{}</div>').format(Markup("").join(plots))


def folded(body: Markup, *, summary: str) -> Markup:
    """A body that a click or a key opens."""
    return Markup("<details><summary>{}</summary>{}</details>").format(summary, body)


def paragraph(text: str | Markup) -> Markup:
    return Markup("<p>{}</p>").format(text)


def subheading(text: str) -> Markup:
    return Markup("<h3>{}</h3>").format(text)


def missing(text: str) -> Markup:
    """Says what a run lacks, and why, instead of leaving it out silently."""
    return Markup('<p class="missing">{}</p>').format(text)


def facts(pairs: Sequence[tuple[str, str | Markup]]) -> Markup:
    """A list of names and values."""
    return _pairs(pairs, kind="facts")


def key_figures(pairs: Sequence[tuple[str, str | Markup]]) -> Markup:
    """The same in large type, for the few that are read first."""
    return _pairs(pairs, kind="facts figures")


def _pairs(pairs: Sequence[tuple[str, str | Markup]], *, kind: str) -> Markup:
    rows = (Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(*pair) for pair in pairs)
    return Markup('<dl class="{}">{}</dl>').format(kind, Markup("").join(rows))


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell | Number]],
    *,
    caption: str,
    sortable: bool = True,
) -> Markup:
    """A table whose columns a click or a key sorts; a wide one scrolls by itself."""
    numeric = [all(_is_number(row[i]) for row in rows) for i in range(len(columns))]
    heads = Markup("").join(
        _head(title, sortable=sortable, numeric=right)
        for title, right in zip(columns, numeric, strict=True)
    )
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(map(_cell, row))) for row in rows
    )
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table{kind}>'
        "<caption>{caption}</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody>"
        "</table></div>"
    ).format(
        caption=caption,
        kind=Markup(' class="sortable"') if sortable else "",
        heads=heads,
        body=body,
    )


def picture(content: bytes, *, alt: str, caption: str = "", kind: str = "png") -> Markup:
    """An image file's content (`kind`: png, jpeg or svg+xml), at most as wide as the page."""
    address = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    below = Markup("<figcaption>{}</figcaption>").format(caption) if caption else ""
    return Markup('<figure class="picture"><img src="{}" alt="{}">{}</figure>').format(
        address, alt, below
    )


def plot(
    figure: go.Figure, *, label: str, caption: str = "", height: int = 420, least_width: int = 0
) -> Markup:
    """A Plotly figure. `label` says in words what it shows, for those who do not see it.

    Height and width are in pixels; a page that is narrower than `least_width` scrolls the plot.

    Fonts, background and grid come from the page's theme; colors of the data are the figure's.
    """
    content = json.loads(plotly.io.to_json(figure, engine="json"))
    content["layout"].pop("template", None)
    # Within a script element nothing ends it but its own tag.
    text = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    below = Markup("<figcaption>{}</figcaption>").format(caption) if caption else ""
    return Markup(
        '<figure class="plot"><div class="wide"><div class="drawing" role="img"'
        ' aria-label="{label}" style="height:{height}px;min-width:{width}px"></div></div>'
        '<script type="application/json">{text}</script>{below}</figure>'
    ).format(height=height, width=least_width, label=label, text=Markup(text), below=below)


def _head(title: str, *, sortable: bool, numeric: bool) -> Markup:
    content = Markup('<button type="button">{}</button>').format(title) if sortable else title
    kind = Markup(' class="number"') if numeric else ""
    return Markup('<th scope="col"{}>{}</th>').format(kind, content)


def _is_number(value: Cell | Number) -> bool:
    """Whether a cell is a number or empty, and so stands on the right of its column."""
    return value is None or (isinstance(value, Number | int | float) and value is not True)


def _cell(value: Cell | Number) -> Markup:
    match value:
        case Number():
            return Markup('<td class="number" data-value="{}">{}</td>').format(
                value.value, value.text
            )
        case None:
            return Markup('<td class="number">-</td>')
        case bool() | str():
            return Markup("<td>{}</td>").format(escape(value))
        case _:
            return Markup('<td class="number" data-value="{0}">{0}</td>').format(value)
