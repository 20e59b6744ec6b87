"""The HTML of a page: its frame, and the parts that its sections are made of.

A plot is left in the page as data; `page.js` draws it in the colors of the reader's theme.
Whatever comes from a run (names, parameters, errors) is escaped here.
"""

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import plotly.graph_objects as go
import plotly.io
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from inat_ray.page.figure import Figure
from inat_ray.storage.disk import replacing

HERE = files("inat_ray.page")


class Section:
    """A part of the page with a heading and an entry in the table of contents."""

    def __init__(self, title: str, anchor: str, *parts: Markup | Figure) -> None:
        """`anchor` is the heading's id, so that #anchor leads to it; it is unique on the page."""
        self.title, self.anchor, self.body = title, anchor, joined(*parts)
        self.figures = [part for part in parts if isinstance(part, Figure)]


@dataclass(frozen=True)
class Number:
    """A cell that is shown as `text` and sorted by `value`."""

    value: float
    text: str


Cell = str | float | None | Markup | Number
"""In a table, a plain number is shown as it is and sorted by value; None is shown as a dash."""


def write_page(path: Path, *, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Writes the page whole or not at all; `lead` is a sentence or two below the title."""
    with replacing(path) as partial:
        partial.write_text(render_page(title=title, lead=lead, sections=sections), encoding="utf-8")


def render_page(*, title: str, lead: str, sections: Sequence[Section]) -> str:
    """Returns a page that needs no network: scripts, styles and pictures are in it."""
    anchors = [section.anchor for section in sections]
    assert len(set(anchors)) == len(anchors)
    # Plotly takes 5 MB, which a page without a plot can do without.
    has_plots = any('class="plotly"' in section.body for section in sections)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_asset("page.html")).render(
        title=title,
        lead=lead,
        sections=sections,
        style=Markup(_asset("page.css") + _asset("plots.css")),
        script=Markup(_asset("page.js") + _asset("plots.js")),
        plotly=Markup(get_plotlyjs()) if has_plots else None,
    )


def joined(*parts: Markup | Figure) -> Markup:
    """Returns the parts one below the other."""
    return Markup("\n").join(parts)


def beside(plots: Iterable[Markup]) -> Markup:
    """Returns plots side by side, as many as there is room for."""
    return Markup('<div class="plots">{}</div>').format(Markup("").join(plots))


def folded(body: Markup, *, summary: str) -> Markup:
    """Returns a body that a click or a key opens."""
    return Markup("<details><summary>{}</summary>{}</details>").format(summary, body)


def paragraph(text: str) -> Markup:
    return Markup("<p>{}</p>").format(text)


def subheading(text: str) -> Markup:
    return Markup("<h3>{}</h3>").format(text)


def missing(text: str) -> Markup:
    """Returns a note of what a run lacks and why; nothing is left out silently."""
    return Markup('<p class="missing">{}</p>').format(text)


def warning(text: str) -> Markup:
    """Returns what a reader must know before they believe what follows."""
    return Markup('<p class="missing alarm" role="alert">{}</p>').format(text)


def facts(pairs: Iterable[tuple[str, str]], *, large: bool = False) -> Markup:
    """Returns a list of names and values, `large` for the few that are read first."""
    rows = (Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(*pair) for pair in pairs)
    kind = "facts figures" if large else "facts"
    return Markup('<dl class="{}">{}</dl>').format(kind, Markup("").join(rows))


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, caption: str, sortable: bool = True
) -> Markup:
    """Returns a table that a click or a key sorts by a column; a wide one scrolls on its own."""
    heads = [
        _head(title, sortable=sortable, numeric=all(_is_numeric(row[i]) for row in rows))
        for i, title in enumerate(columns)
    ]
    lines = [Markup("<tr>{}</tr>").format(Markup("").join(map(_cell, row))) for row in rows]
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table{kind}>'
        "<caption>{caption}</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody>"
        "</table></div>"
    ).format(
        caption=caption,
        kind=Markup(' class="sortable"') if sortable else "",
        heads=Markup("").join(heads),
        body=Markup("").join(lines),
    )


def picture(content: bytes, *, alt: str, caption: str = "", kind: str = "png") -> Markup:
    """Returns an image, at most as wide as the page, from the content of a file (png or jpeg)."""
    address = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return Markup('<figure class="picture"><img src="{}" alt="{}">{}</figure>').format(
        address, alt, _figcaption(caption)
    )


def plot(
    figure: go.Figure, *, label: str, caption: str = "", height: int = 420, least_width: int = 0
) -> Markup:
    """Returns a Plotly figure. `label` says in words what it shows, for those who do not see it.

    Height and width are in pixels; a page that is narrower than `least_width` scrolls the plot.

    Fonts, background and grid come from the page's theme; colors of the data are the figure's.
    """
    content = json.loads(plotly.io.to_json(figure, engine="json"))
    content["layout"].pop("template", None)
    # Data in a script element must not hold the tag that ends it.
    text = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    return Markup(
        '<figure class="plotly"><div class="wide"><div class="drawing" role="img"'
        ' aria-label="{label}" style="height:{height}px;min-width:{width}px"></div></div>'
        '<script type="application/json">{text}</script>{below}</figure>'
    ).format(
        height=height,
        width=least_width,
        label=label,
        text=Markup(text),
        below=_figcaption(caption),
    )


def _asset(name: str) -> str:
    return HERE.joinpath(name).read_text(encoding="utf-8")


def _figcaption(text: str) -> Markup:
    return Markup("<figcaption>{}</figcaption>").format(text) if text else Markup("")


def _head(title: str, *, sortable: bool, numeric: bool) -> Markup:
    content = Markup('<button type="button">{}</button>').format(title) if sortable else title
    kind = Markup(' class="number"') if numeric else ""
    return Markup('<th scope="col"{}>{}</th>').format(kind, content)


def _is_numeric(cell: Cell) -> bool:
    """Whether a cell stands at the right of its column: a number, or empty."""
    return not isinstance(cell, str)


def _cell(cell: Cell) -> Markup:
    match cell:
        case None:
            return Markup('<td class="number">-</td>')
        case str():
            return Markup("<td>{}</td>").format(escape(cell))
        case Number(value, text):
            return Markup('<td class="number" data-value="{}">{}</td>').format(value, text)
    return Markup('<td class="number" data-value="{0}">{0}</td>').format(cell)
