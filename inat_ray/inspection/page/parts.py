"""What the report's page is made of: sections of text, tables, pictures and plots, as HTML.

A plot is left in the page as data; `page.js` draws it in the colours of the reader's theme.
Whatever comes from a run (names, parameters, errors) is escaped here.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
import plotly.io
from markupsafe import Markup, escape

Cell = str | float | int | None | Markup
"""Of a table: a number is shown as it is and sorted by value; None is shown as a dash."""


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading and a place in its table of contents."""

    title: str
    anchor: str
    """Of the heading: `#anchor` leads to it; unique on the page."""
    body: Markup


@dataclass(frozen=True)
class Number:
    """A cell that is shown as `text` and sorted by `value`."""

    value: float
    text: str


def joined(*parts: Markup) -> Markup:
    """One after the other."""
    return Markup("\n").join(parts)


def paragraph(text: str | Markup) -> Markup:
    return Markup("<p>{}</p>").format(text)


def subheading(text: str) -> Markup:
    return Markup("<h3>{}</h3>").format(text)


def missing(text: str) -> Markup:
    """What a run does not hold, and why: the page says so instead of leaving it out."""
    return Markup('<p class="missing">{}</p>').format(text)


def facts(pairs: Sequence[tuple[str, str | Markup]]) -> Markup:
    """Names and values, one pair a line."""
    rows = (Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(*pair) for pair in pairs)
    return Markup('<dl class="facts">{}</dl>').format(Markup("").join(rows))


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell | Number]],
    *,
    caption: str,
    sortable: bool = True,
) -> Markup:
    """A table whose columns sort by a click or a key; wide ones scroll by themselves."""
    heads = Markup("").join(_head(title, sortable=sortable) for title in columns)
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
    return Markup(
        '<figure class="picture"><img src="{}" alt="{}" loading="lazy">{}</figure>'
    ).format(address, alt, below)


def plot(figure: go.Figure, *, label: str, caption: str = "", height: int = 420) -> Markup:
    """A Plotly figure. `label` says in words what it shows, for those who do not see it.

    Fonts, background and grid come from the page's theme; colours of the data are the figure's.
    """
    content = json.loads(plotly.io.to_json(figure, engine="json"))
    content["layout"].pop("template", None)
    # Within a script element nothing ends it but its own tag.
    text = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    below = Markup("<figcaption>{}</figcaption>").format(caption) if caption else ""
    return Markup(
        '<figure class="plot"><div class="drawing" style="height:{height}px"'
        ' role="img" aria-label="{label}"></div><script type="application/json">{text}</script>'
        "{below}</figure>"
    ).format(height=height, label=label, text=Markup(text), below=below)


def _head(title: str, *, sortable: bool) -> Markup:
    if not sortable:
        return Markup('<th scope="col">{}</th>').format(title)
    return Markup('<th scope="col"><button type="button">{}</button></th>').format(title)


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
