"""The HTML of a page: its frame, and the parts that its sections are made of.

Whatever comes from a run (names, parameters, errors) is escaped here.
"""

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from inat_ray.page.colors import BLUE, INK
from inat_ray.page.figure import Figure
from inat_ray.storage.disk import write_text


class Section:
    """A part of the page with a heading and an entry in the table of contents."""

    def __init__(self, title: str, anchor: str, *parts: Markup | Figure) -> None:
        """`anchor` is the heading's id, so that #anchor leads to it; it is unique on the page."""
        self.title, self.anchor, self.body = title, anchor, joined(*parts)
        self.figures = [part for part in parts if isinstance(part, Figure)]


@dataclass(frozen=True)
class Number:
    """A cell that is shown as `text` and sorted by `value`.

    One that is `dotted` has a dot beside it, on the scale of its column.
    """

    value: float
    text: str
    dotted: bool = False


Cell = str | float | None | Markup | Number
"""In a table, a plain number is shown as it is and sorted by value; None is shown as a dash."""


def write_page(path: Path, *, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Writes the page whole or not at all; `lead` is a sentence or two below the title."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render_page(title=title, lead=lead, sections=sections))


def render_page(*, title: str, lead: str, sections: Sequence[Section]) -> str:
    """Returns a page that needs no network: scripts, styles and pictures are in it."""
    anchors = [section.anchor for section in sections]
    assert len(set(anchors)) == len(anchors)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_asset("page.html")).render(
        title=title,
        lead=lead,
        sections=sections,
        style=Markup(f":root {{ --mark: {BLUE}; }}\n{_asset('page.css')}{_asset('plots.css')}"),
        scripts=[
            Markup(f"const INK = {json.dumps(INK)};"),
            *(Markup(_asset(name)) for name in ("frame.js", "plots.js")),
        ],
    )


def joined(*parts: Markup | Figure) -> Markup:
    """Returns the parts one below the other."""
    return Markup("\n").join(parts)


def folded(body: Markup, *, summary: str) -> Markup:
    """Returns a body that a click or a key opens."""
    return Markup("<details><summary>{}</summary>{}</details>").format(summary, body)


def paragraph(text: str) -> Markup:
    return Markup("<p>{}</p>").format(text)


def hint(text: str) -> Markup:
    """Returns what a reader can do on a screen, which is left out on paper."""
    return Markup('<p class="caption hint">{}</p>').format(text)


def subheading(text: str) -> Markup:
    return Markup("<h3>{}</h3>").format(text)


def missing(text: str) -> Markup:
    """Returns a note of what a run lacks and why; nothing is left out silently."""
    return Markup('<p class="missing">{}</p>').format(text)


def warning(text: str) -> Markup:
    """Returns what a reader must know before they believe what follows."""
    return Markup('<p class="missing alarm" role="alert">{}</p>').format(text)


def facts(pairs: Iterable[tuple[str, str]], *, kind: str = "facts") -> Markup:
    """Returns a list of names and values: small `facts`, or `pairs` of a key and its value."""
    rows = (Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(*pair) for pair in pairs)
    return Markup('<dl class="{}">{}</dl>').format(kind, Markup("").join(rows))


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    caption: str,
    trials: Sequence[str] = (),
) -> Markup:
    """Returns a table that a click or a key sorts by a column; a wide one scrolls on its own.

    With `trials`, the trial that each row is about, a row can be selected; the second column, with
    their names, stays in sight.
    """
    cells = [[row[i] for row in rows] for i in range(len(columns))]
    numeric = [not any(isinstance(cell, str) for cell in column) for column in cells]
    heads = [_head(title, numeric=right) for title, right in zip(columns, numeric, strict=True)]
    keys = [Markup(' data-trial="{}"').format(t) for t in trials] or [Markup("")] * len(rows)
    ends = [_ends(column) for column in cells]
    lines = [
        Markup("<tr{}>{}</tr>").format(key, Markup("").join(map(_cell, row, numeric, ends)))
        for key, row in zip(keys, rows, strict=True)
    ]
    return Markup(
        '<p class="caption">{caption}</p><div class="more">'
        '<div class="scroll" tabindex="0" role="region" aria-label="{caption}">'
        "<table{kind}><thead><tr>{heads}</tr></thead><tbody>{body}</tbody>"
        "</table></div></div>"
    ).format(
        caption=caption,
        kind=Markup(' class="board"') if trials else "",
        heads=Markup("").join(heads),
        body=Markup("").join(lines),
    )


def picture(content: bytes, *, alt: str, caption: str = "", kind: str = "png") -> Markup:
    """Returns an image, at most as wide as the page, from the content of a file (png or jpeg)."""
    address = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    said = Markup("<figcaption>{}</figcaption>").format(caption) if caption else ""
    shown = Markup('<figure class="picture"><img src="{}" alt="{}">{}</figure>')
    return shown.format(address, alt, said)


def _asset(name: str) -> str:
    return files("inat_ray.page").joinpath(name).read_text(encoding="utf-8")


def _head(title: str, *, numeric: bool) -> Markup:
    kind = Markup(' class="number"') if numeric else ""
    return Markup('<th scope="col"{}><button type="button">{}</button></th>').format(kind, title)


def _ends(cells: Sequence[Cell]) -> tuple[float, float]:
    """Returns the ends of the scale on which dotted cells of a column stand.

    They are a tenth of the greatest apart at least: what differs little shall look alike.
    """
    values = [c.value for c in cells if isinstance(c, Number) and c.dotted] or [1.0]
    return min(*values, 0.9 * max(values)), max(values)


def _cell(cell: Cell, numeric: bool, ends: tuple[float, float]) -> Markup:
    match cell:
        case None:
            return Markup('<td class="number">-</td>' if numeric else "<td>-</td>")
        case str():
            return Markup("<td>{}</td>").format(escape(cell))
        case Number(value, text, dotted):
            low, high = ends
            place = (value - low) / ((high - low) or 1)
            dot = Markup(' style="--place: {:.3f}"').format(place) if dotted else ""
            return Markup('<td class="number" data-value="{}"{}>{}</td>').format(value, dot, text)
    return Markup('<td class="number" data-value="{0}">{0}</td>').format(cell)
