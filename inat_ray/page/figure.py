"""A figure: plots as one SVG picture, with what it says in words, and its data.

A figure is laid out for a screen, for a phone, and for print; nothing of it is drawn by a script.
`plots.js` adds what a reader does with it: views, tips, selecting, saving.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from markupsafe import Markup

from inat_ray.page.axes import Axis
from inat_ray.page.colors import BLUE, GRAY, INK, SCALE
from inat_ray.page.marks import Frame, Mark, element, path, shortened, symbol, words

SCREEN, PHONE, PRINT = 800, 340, 560
"""Widths in pixels, each for the narrowest room that it is shown in at 11/12 of its size; the last
is that of a page's text, 148 mm, where the font is of 9 points."""

FONT = 12
LETTER = 0.56
"""Width of a letter in the mean, as a share of the font's size."""

RIGHT = 22
"""Room at the right of a plot, where the last text below its axis may stand out."""

LINE = 18
"""From one line of text to the next."""

SHADES = [(BLUE, 0.1 + 0.9 * place / 6) for place in range(7)]
"""For a quantity that fills areas, low to high: color and opacity."""

STEPS = {"scale": [(color, 1.0) for color in SCALE], "shades": SHADES}


@dataclass(frozen=True)
class Key:
    """An entry of a legend: a symbol, a line ("line", "dash", "dots"), or a scale of colors."""

    text: str
    shape: str
    color: str = GRAY
    other: str = ""
    """Of the scale of colors, what its far end means."""

    @property
    def sign(self) -> float:
        """The width of what stands before the text."""
        return 22 if self.shape in ("line", "dash", "dots") else 12

    @property
    def width(self) -> float:
        if self.shape in STEPS:
            return _wide(self.text) + _wide(self.other) + 12 * len(SCALE) + 34
        return self.sign + 6 + _wide(self.text) + 18

    def svg(self, x: float, y: float) -> str:
        """Returns it with its left end at x, its middle at y."""
        if self.shape in STEPS:
            return self._scale(x, y)
        middle = x + self.sign / 2
        if self.sign == 12:
            sign = symbol(self.shape, middle, y, size=4.5, color=self.color)
        else:
            dash = {"line": "", "dash": "6 4", "dots": "2 3"}[self.shape]
            look = {"stroke": self.color, "stroke_width": 2.5, "stroke_dasharray": dash}
            sign = element("path", d=path([(x, y), (x + self.sign, y)]), **look)
        return sign + words(self.text, x + self.sign + 6, y + 4)

    def _scale(self, x: float, y: float) -> str:
        start = x + _wide(self.text) + 8
        size = {"y": y - 5, "width": 12, "height": 10}
        cells = "".join(
            element("rect", x=start + 12.0 * place, **size, fill=color, opacity=f"{opacity:.2f}")
            for place, (color, opacity) in enumerate(STEPS[self.shape])
        )
        end = start + 12 * len(SCALE) + 8
        return words(self.text, x, y + 4) + cells + words(self.other, end, y + 4)


@dataclass
class Plot:
    """Two axes, and what is drawn between them."""

    x: Axis
    y: Axis
    marks: list[Mark] = field(default_factory=list)
    legend: list[Key] = field(default_factory=list)
    height: int = 360
    """Of the whole picture, on a screen."""
    title: str = ""

    def add(self, *marks: Mark) -> None:
        self.marks += marks

    def left(self) -> float:
        """Returns the room that the texts at its y axis take."""
        return 12 + max((_wide(text) for _, text in self.y.ticks), default=0.0)

    def table(self) -> Iterator[Sequence[str]]:
        """Yields the rows of its data, the heads first."""
        yield "series", "trial", self.x.title, self.y.title
        for mark in self.marks:
            yield from mark.rows(self.x, self.y)

    def svg(self, width: float, height: float, *, left: float, bare: bool = False) -> str:
        """Returns it as SVG; `left` is the room at its y axis, empty if it is `bare`."""
        legend, lines = legend_of(self.legend, width - left)
        top = LINE * (lines + bool(self.title) + bool(self.y.title)) + 8
        room = (width - left - RIGHT) / max(1, len(self.x.names))
        turned = bool(self.x.names) and room < 5 * LETTER * FONT
        bottom = height - _below(self.x, turned=turned) - (LINE if self.x.title else 0) - 4
        frame = Frame(self.x, self.y, left=left, right=width - RIGHT, top=top, bottom=bottom)
        parts = [
            words(self.title, left, LINE - 4, font_weight="600") if self.title else "",
            f'<g transform="translate({left:.1f} {LINE * bool(self.title):.0f})">{legend}</g>',
            *_y_grid(frame, bare=bare),
            *_x_grid(frame, turned=turned),
            *(mark.svg(frame) for mark in self.marks),
        ]
        return element(
            "g",
            "".join(parts),
            class_="panel",
            data_x=self.x.told(frame.left, frame.right),
            data_y=self.y.told(frame.bottom, frame.top),
            data_share="yes" if self.y.share else "",
        )


class Drawn(Protocol):
    """What a figure is made of: a plot, or what is drawn as one."""

    height: int

    def left(self) -> float: ...

    def table(self) -> Iterator[Sequence[str]]: ...

    def svg(self, width: float, height: float, *, left: float, bare: bool = False) -> str: ...


@dataclass(frozen=True)
class Figure:
    """A figure of the page. It has several views if a reader chooses what is drawn."""

    name: str
    """Of its files; unique on the page."""
    label: str
    """Says in words what it shows, for those who do not see it."""
    views: Mapping[str, Sequence[Drawn]]
    """Name -> plots, side by side or one below the other; a single view needs no name."""
    caption: str = ""
    least: int = 10_000
    """The least width of a plot: as many stand side by side as there is room for."""
    shared: bool = False
    """Whether its plots share their y axis, so that only the first of a row has its texts."""
    screen: int = SCREEN
    """Its width on a screen, in pixels."""
    keys: Sequence[Key] = ()
    """Of a legend above all plots."""
    extra: str = ""
    """What stands between the views and the picture."""

    def svg(self, view: str, width: int) -> str:
        """Returns a view as a picture of this width."""
        plots = self.views[view]
        columns = max(1, min(len(plots), width // self.least))
        lefts = [plot.left() for plot in plots]
        left = max(lefts)
        inner = (width - left) / columns if self.shared else width / columns
        legend, lines = legend_of(self.keys, width)
        parts, y = [legend], 4.0 + LINE * lines
        for start in range(0, len(plots), columns):
            row = plots[start : start + columns]
            height = max(plot.height for plot in row) * (
                0.8 if width == PHONE and columns == 1 else 1
            )
            for place, plot in enumerate(row):
                own = left if self.shared or columns == 1 else lefts[start + place]
                bare, at = self.shared and place > 0, place * inner
                drawn = plot.svg(inner + own if self.shared else inner, height, left=own, bare=bare)
                parts.append(f'<g transform="translate({at:.1f} {y:.1f})">{drawn}</g>')
            y += height
        return element(
            "svg",
            "".join(parts),
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {width} {y:.0f}",
            width=width,
            height=round(y),
            style=f"--of: {min(1, width / SCREEN):.2f}",
            font_size=FONT,
            fill="var(--ink)",
            font_family="Liberation Sans, Arial, Helvetica, sans-serif",
        )

    def printed(self, view: str) -> str:
        """Returns a view for white paper, as a file of its own."""
        svg = re.sub(r"var\(--(\w+)\)", lambda found: INK[found[1]], self.svg(view, PRINT))
        return svg.replace(">", '><rect width="100%" height="100%" fill="#ffffff"/>', 1)

    def data(self, view: str) -> str:
        """Returns the values that a view shows, as CSV: plot after plot, each with its heads."""
        out = io.StringIO()
        for plot in self.views[view]:
            csv.writer(out, lineterminator="\n").writerows(plot.table())
        return out.getvalue()

    def __html__(self) -> str:
        switch = Markup("")
        if len(self.views) > 1:
            choices = (
                Markup('<label><input type="radio" name="view-{}" value="{}"{}> {}</label>').format(
                    self.name, place, Markup("") if place else Markup(" checked"), view
                )
                for place, view in enumerate(self.views)
            )
            switch = Markup(
                '<div class="views" role="group" aria-label="What is drawn">{}</div>'
            ).format(Markup("").join(choices))
        return Markup(
            '<figure class="plot" data-name="{}">{}{}{}<figcaption>{}'
            ' <span class="save">Save as <button type="button" data-save="svg">SVG</button>'
            ' <button type="button" data-save="csv">CSV</button></span></figcaption></figure>'
        ).format(
            self.name,
            switch,
            self.extra,
            Markup("").join(self._view(place, view) for place, view in enumerate(self.views)),
            self.caption,
        )

    def _view(self, place: int, view: str) -> Markup:
        pictures = (
            Markup('<div class="drawing {}" role="img" aria-label="{}">{}</div>').format(
                kind,
                f"{self.label} ({view})" if view else self.label,
                Markup(self.svg(view, width)),
            )
            for kind, width in (("screen", self.screen), ("phone", PHONE))
        )
        return Markup('<div class="view"{}>{}<script type="text/csv">{}</script></div>').format(
            Markup(" hidden") if place else Markup(""),
            Markup("").join(pictures),
            # Data in a script element must not hold the tag that ends it.
            Markup(self.data(view).replace("<", "")),
        )


def _wide(text: str) -> float:
    return LETTER * FONT * len(text)


def legend_of(keys: Sequence[Key], width: float) -> tuple[str, int]:
    """Returns a legend's entries in lines of this width, and the number of lines."""
    x, line, parts = 0.0, 0, []
    for key in keys:
        if x and x + key.width - 18 > width:
            x, line = 0.0, line + 1
        parts.append(key.svg(x, LINE * line + LINE / 2))
        x += key.width
    return "".join(parts), (line + 1) * bool(keys)


def _is_crowded(axis: Axis, width: float) -> bool:
    """Returns whether the texts below an axis would touch each other."""
    ends = [(width * axis.at(value), _wide(text) + 8) for value, text in axis.ticks]
    return any(b - a < (one + other) / 2 for (a, one), (b, other) in pairwise(sorted(ends)))


def _below(axis: Axis, *, turned: bool) -> float:
    """Returns the room that the texts below an x axis take."""
    return min(90, max(map(_wide, axis.names)) * 0.6 + 8) if turned else LINE


def _y_grid(frame: Frame, *, bare: bool) -> Iterator[str]:
    for value, text in frame.y.ticks:
        y = frame.up(value)
        yield element(
            "path", d=f"M{frame.left:.1f} {y:.1f}H{frame.right:.1f}", stroke="var(--line)"
        )
        if not bare:
            yield words(text, frame.left - 8, y + 4, text_anchor="end", fill="var(--faint)")
    if frame.y.title and not bare:
        yield words(frame.y.title, 0, frame.top - 8, font_weight="600")


def _x_grid(frame: Frame, *, turned: bool) -> Iterator[str]:
    width = frame.right - frame.left
    every = 2 if not frame.x.names and _is_crowded(frame.x, width) else 1
    letters = 22 if turned else int(width / max(1, len(frame.x.names)) / LETTER / FONT) - 1
    y = frame.bottom
    yield element("path", d=f"M{frame.left:.1f} {y:.1f}H{frame.right:.1f}", stroke="var(--faint)")
    for value, text in frame.x.ticks[::every]:
        x = frame.along(value)
        yield element("path", d=f"M{x:.1f} {y:.1f}v4", stroke="var(--faint)")
        look = (
            {"text_anchor": "end", "transform": f"rotate(-35 {x:.1f} {y + 14:.1f})"}
            if turned
            else {"text_anchor": "middle"}
        )
        short = shortened(text, letters) if frame.x.names else text
        yield words(short, x, y + 16, fill="var(--faint)", **look)
    if frame.x.title:
        middle, under = (frame.left + frame.right) / 2, y + 16 + _below(frame.x, turned=turned)
        yield words(frame.x.title, middle, under, text_anchor="middle", font_weight="600")
