"""What plots are drawn with: dots, lines, boxes and words, as SVG.

A mark knows values, a `Frame` where they stand on the picture. Colors are those of the palette, or
the page's own as `var(--ink)`, which follow the reader's theme.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import escape

from inat_ray.page.axes import Axis
from inat_ray.page.colors import GRAY

SHAPES = {
    "square": "M-.85-.85H.85V.85H-.85Z",
    "diamond": "M0-1.2L1.2 0L0 1.2L-1.2 0Z",
    "triangle-right": "M-.8-1L1.1 0L-.8 1Z",
    "x": "M-.8-.8L.8 .8M.8-.8L-.8 .8",
    "cross": "M-1 0H1M0-1V1",
    "bar": "M0-1.2V1.2",
}
"""Outlines of a radius of about 1 around 0; a circle needs none."""

HALO = {
    "stroke": "var(--paper)",
    "stroke_width": 3.5,
    "paint_order": "stroke",
    "stroke_linejoin": "round",
}
"""Keeps words legible on lines."""

STROKES = ("x", "cross", "bar")
"""Shapes that have no inside."""

Row = tuple[str, str, str, str]
"""Of a figure's data: series, trial, x, y."""


@dataclass(frozen=True)
class Frame:
    """The rectangle between a plot's axes, in pixels of its picture."""

    x: Axis
    y: Axis
    left: float
    right: float
    top: float
    bottom: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Returns the pixels of a point."""
        return self.along(x), self.up(y)

    def along(self, x: float) -> float:
        return self.left + self.x.at(x) * (self.right - self.left)

    def up(self, y: float) -> float:
        return self.bottom - self.y.at(y) * (self.bottom - self.top)


class Mark(ABC):
    """Something that is drawn between two axes."""

    @abstractmethod
    def svg(self, frame: Frame) -> str:
        """Returns it as SVG."""

    def rows(self, x: Axis, y: Axis) -> Iterator[Row]:
        """Yields the values that it shows, as data: none, if it does not say which."""
        yield from ()


def element(name: str, content: str | None = None, /, **attributes: object) -> str:
    """Returns an SVG element. Underscores stand for hyphens; what is None or "" is left out.

    `content` is SVG already; attributes are escaped.
    """
    told = "".join(
        f' {key.strip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None and value != ""
    )
    return f"<{name}{told}/>" if content is None else f"<{name}{told}>{content}</{name}>"


def _short(value: object) -> object:
    if not isinstance(value, float):
        return value
    return f"{value:.1f}".removesuffix(".0") if abs(value) > 1 else f"{value:.2g}"


def words(text: str, x: float, y: float, **looks: object) -> str:
    """Returns a text whose anchor is at these pixels."""
    return element("text", str(escape(text)), x=x, y=y, **looks)


def shortened(text: str, most: int) -> str:
    """Returns a name that has at most so many letters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def path(points: Sequence[tuple[float, float]], *, step: bool = False) -> str:
    """Returns a path through pixels, or one that goes on level until it steps to the next."""
    (x0, y0), *rest = points
    first = f"M{x0:.1f} {y0:.1f}"
    return first + "".join(f"H{x:.1f}V{y:.1f}" if step else f"L{x:.1f} {y:.1f}" for x, y in rest)


def symbol(shape: str, x: float, y: float, *, size: float, color: str, **looks: object) -> str:
    """Returns a point's symbol; the name of a hollow one ends with -open."""
    kind = shape.removesuffix("-open")
    hollow = kind != shape or kind in STROKES
    look = {
        "fill": "var(--paper)" if hollow and kind not in STROKES else "none" if hollow else color,
        "stroke": color if hollow else "var(--paper)",
        "stroke_width": 1.8 if hollow else 0.6,
    } | looks
    if kind == "circle":
        return element("circle", cx=x, cy=y, r=float(size), **look)
    # Its own numbers grow: in a PDF, a scale would make its stroke as thick.
    outline = re.sub(r"-?[\d.]+", lambda found: f"{size * float(found[0]):.2f}", SHAPES[kind])
    return element("path", d=outline, transform=f"translate({x:.1f} {y:.1f})", **look)


@dataclass(frozen=True)
class Dot(Mark):
    x: float
    y: float
    color: str = GRAY
    shape: str = "circle"
    size: float = 4
    trial: str = ""
    tip: str = ""
    """What is said of it beside the trial's own words."""
    series: str = ""
    ringed: bool = False
    """Whether a ring is around it: that of the winner."""
    shift: float = 0
    """Pixels to the right, so that equals do not hide each other."""
    data: bool = True
    """Whether it is one of the figure's data."""

    def svg(self, frame: Frame) -> str:
        x, y = frame.at(self.x, self.y)
        x += self.shift
        ring = ""
        if self.ringed:
            look = {"fill": "none", "stroke": "var(--ink)", "stroke_width": 2}
            ring = element("circle", cx=x, cy=y, r=self.size + 3.5, **look)
        told = {"data_trial": self.trial, "data_tip": self.tip}
        return ring + symbol(self.shape, x, y, size=self.size, color=self.color, **told)

    def rows(self, x: Axis, y: Axis) -> Iterator[Row]:
        if self.data:
            yield self.series, self.trial, x.text(self.x), y.text(self.y)


@dataclass(frozen=True)
class Line(Mark):
    points: Sequence[tuple[float, float]]
    color: str = GRAY
    width: float = 1.5
    dash: str = ""
    step: bool = False
    opacity: float = 1
    trial: str = ""
    series: str = ""
    read: bool = False
    """Whether the tip tells the value below the pointer."""
    data: bool = True

    def svg(self, frame: Frame) -> str:
        known = [frame.at(x, y) for x, y in self.points if math.isfinite(y)]
        if not known:
            return ""
        return element(
            "path",
            d=path(known, step=self.step),
            fill="none",
            stroke=self.color,
            stroke_width=self.width,
            stroke_dasharray=self.dash,
            stroke_linejoin="round",
            opacity=self.opacity,
            data_trial=self.trial,
            data_read="y" if self.read else "",
        )

    def rows(self, x: Axis, y: Axis) -> Iterator[Row]:
        if self.data:
            yield from ((self.series, self.trial, x.text(a), y.text(b)) for a, b in self.points)


@dataclass(frozen=True)
class Box(Mark):
    """A rectangle between two corners: a bar, a span, a cell."""

    low: tuple[float, float]
    high: tuple[float, float]
    color: str
    opacity: float = 1
    trial: str = ""
    tip: str = ""
    series: str = ""
    value: str = ""
    """What it shows, as data; without it, it is none of the figure's data."""
    is_written: bool = False
    """Whether the value is written in it."""

    def svg(self, frame: Frame) -> str:
        (x0, y1), (x1, y0) = frame.at(*self.low), frame.at(*self.high)
        text = words(self.value, (x0 + x1) / 2, (y0 + y1) / 2 + 4, text_anchor="middle")
        return self._rectangle(x0, y0, x1, y1) + text * self.is_written

    def _rectangle(self, x0: float, y0: float, x1: float, y1: float) -> str:
        return element(
            "rect",
            x=x0,
            y=y0,
            width=max(0.5, x1 - x0),
            height=max(0.5, y1 - y0),
            fill=self.color,
            stroke="var(--paper)",
            stroke_width=0.5,
            opacity=self.opacity,
            data_trial=self.trial,
            data_tip=self.tip,
        )

    def rows(self, x: Axis, y: Axis) -> Iterator[Row]:
        if self.value:
            yield self.series, self.trial, x.text(self.low[0]), self.value


@dataclass(frozen=True)
class Cells(Mark):
    """Boxes that fill an area, without seams between them."""

    boxes: Sequence[Box]

    def svg(self, frame: Frame) -> str:
        # Each reaches half a pixel into the next, or their antialiased edges would show.
        parts = []
        for box in self.boxes:
            (x0, y1), (x1, y0) = frame.at(*box.low), frame.at(*box.high)
            parts.append(f"M{x0:.1f} {y0 - 0.5:.1f}H{x1 + 0.5:.1f}V{y1:.1f}H{x0:.1f}Z")
        look = self.boxes[0]
        return element("path", d="".join(parts), fill=look.color, opacity=look.opacity)


@dataclass(frozen=True)
class Whisker(Mark):
    """An error bar from one end to the other."""

    ends: tuple[tuple[float, float], tuple[float, float]]
    color: str = "var(--ink)"
    series: str = ""

    def svg(self, frame: Frame) -> str:
        ends = [frame.at(*end) for end in self.ends]
        return element("path", d=path(ends), stroke=self.color, stroke_width=1.6, fill="none")

    def rows(self, x: Axis, y: Axis) -> Iterator[Row]:
        yield from ((self.series, "", x.text(a), y.text(b)) for a, b in self.ends)


@dataclass(frozen=True)
class Area(Mark):
    """What lies between two lines over the same values of x."""

    lows: Sequence[tuple[float, float]]
    highs: Sequence[tuple[float, float]]
    color: str
    step: bool = False

    def svg(self, frame: Frame) -> str:
        there = path([frame.at(x, y) for x, y in self.highs], step=self.step)
        # Backwards, a line that steps goes up or down first.
        back = [frame.at(x, y) for x, y in reversed(self.lows)]
        returned = "".join(
            f"V{y:.1f}H{x:.1f}" if self.step else f"L{x:.1f} {y:.1f}" for x, y in back
        )
        return element("path", d=f"{there}{returned}Z", fill=self.color, opacity=0.18)
