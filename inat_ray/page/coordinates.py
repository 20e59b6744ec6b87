"""Parallel coordinates: an axis a hyperparameter, a line a trial; the result's axis comes first."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from inat_ray.config.metrics import METRICS
from inat_ray.page.axes import Axis, of_metric
from inat_ray.page.figure import Figure, Key, legend_of
from inat_ray.page.marks import HALO, element, path, shortened, words
from inat_ray.page.scored import Scored, jitter
from inat_ray.terminal.words import metric_text, value_text

SHOWN, LEAST_SHOWN = 7, 3
"""Hyperparameters whose axes are drawn at first: the most telling ones, by the width there is."""

ROOM = 90
"""The least width of an axis, in pixels."""

NOT_SET = "not set"
"""Stands below an axis, for trials whose condition is not met."""

ABSENT = -0.09
"""Its place, where 0 is the low end of the axis and 1 the high end."""

LEFT, RIGHT = 62, 44
"""Room for the texts of the first axis, and for half the name of the last, in pixels."""

RANGE = Markup(
    '<p class="views range"><span>Drag along an axis, or choose a range:</span>'
    '<select data-range aria-label="Axis"></select>'
    '<span><label>from <input data-range size="7" list="range-ticks"></label>'
    ' <label>to <input data-range size="7" list="range-ticks"></label></span>'
    '<datalist id="range-ticks"></datalist></p>'
)
"""Selects as a drag along an axis does, for those who do not drag; a script fills it."""

SPREAD = 0.55
"""Share of a category's room over which its trials are spread."""


@dataclass
class Coordinates:
    """The axes of a search's space, and a line through them for each trial.

    It is drawn as `Plot` is. Axes that a reader may ask for are in the picture, not shown.
    """

    scored: Scored
    height: int = 440

    @property
    def names(self) -> list[str]:
        return self.scored.telling

    def left(self) -> float:
        return 0.0

    def svg(self, width: float, height: float, *, left: float, bare: bool = False) -> str:
        """Returns it as SVG. Scripts find each line's heights at all axes in its data."""
        del left, bare
        axes = list(self._axes())
        fitting = max(LEAST_SHOWN, int((width - LEFT - RIGHT) / ROOM))
        shown = 1 + min(len(self.names), SHOWN, fitting)
        key, _ = legend_of(self._keys(), width)
        top, bottom = 64.0, height - 44
        heights = [[bottom - place * (bottom - top) for place in places] for _, places in axes]
        xs = [LEFT + (width - LEFT - RIGHT) * i / max(1, shown - 1) for i in range(shown)]
        lines = "".join(self._line(i, xs, [h[i] for h in heights]) for i in self._order())
        drawn = "".join(
            _axis(axis, xs[i] if i < shown else None, top, bottom, bare=min(places) >= 0)
            for i, (axis, places) in enumerate(axes)
        )
        return element(
            "g",
            key + lines + drawn,
            class_="coordinates",
            data_left=LEFT,
            data_right=f"{width - RIGHT:.0f}",
            data_top=top,
            data_bottom=bottom,
        )

    def table(self) -> Iterator[list[str]]:
        """Yields the rows of its data, the heads first."""
        scored = self.scored
        yield ["trial", scored.metric, *scored.names]
        for trial, score, point in zip(scored.trial_ids, scored.scores, scored.points, strict=True):
            told = (value_text(point[n]) if n in point else "" for n in scored.names)
            yield [trial, f"{score:.6g}", *told]

    def _keys(self) -> list[Key]:
        ends = [f(self.scored.scores, key=METRICS[self.scored.metric].score) for f in (min, max)]
        worst, best = (metric_text(self.scored.metric, score) for score in ends)
        return [Key(f"worst {worst}", "scale", other=f"best {best}")]

    def _axes(self) -> Iterator[tuple[Axis, list[float]]]:
        """Yields each axis with the trials' places on it, from 0 to 1."""
        scored = self.scored
        result = of_metric(scored.metric, scored.scores, scored.title)
        yield result, [result.at(score) for score in scored.scores]
        for name in self.names:
            axis, values = scored.axis(name)
            places = [ABSENT + 0.05 * jitter(at) for at in range(len(scored.points))]
            for at, value in zip(scored.given(name)[0], values, strict=True):
                moved = value + SPREAD * jitter(at) if axis.names else value
                places[at] = axis.at(moved)
            yield axis, places

    def _order(self) -> list[int]:
        """Returns the trials' places, the best last, so that they are on top."""
        return sorted(range(len(self.scored.points)), key=lambda i: self.scored.ranks[i])

    def _line(self, place: int, xs: list[float], heights: list[float]) -> str:
        trial, scored = self.scored.trial_ids[place], self.scored
        won = trial == scored.winner
        return element(
            "path",
            d=path(list(zip(xs, heights, strict=False))),
            fill="none",
            stroke=scored.color(place),
            stroke_width=3.2 if won else 1.4,
            opacity=1 if won else f"{max(0.35, min(0.85, 45 / len(scored.points))):.2f}",
            data_trial=trial,
            data_heights=" ".join(f"{h:.0f}" for h in heights),
            stroke_linejoin="round",
        )


def _axis(axis: Axis, x: float | None, top: float, bottom: float, *, bare: bool) -> str:
    """Returns an axis; its texts stand beside it, on a halo that no line runs through."""
    ticks = [(bottom - axis.at(value) * (bottom - top), text) for value, text in axis.ticks]
    if not bare:
        ticks.append((bottom - ABSENT * (bottom - top), NOT_SET))
    handle = {"width": 28, "height": bottom - top + 12}
    parts = [
        element("path", d=f"M0 {top:.0f}V{bottom:.0f}", stroke="var(--ink)", stroke_width=1.2),
        *(element("path", d=f"M-4 {y:.1f}H0", stroke="var(--ink)") for y, _ in ticks),
        *(words(shortened(text, 14), -7, y + 4, text_anchor="end", **HALO) for y, text in ticks),
        words(shortened(axis.title, 16), 0, top - 14, text_anchor="middle", font_weight="600"),
        element("rect", x=-14, y=top - 6, **handle, fill="transparent", class_="handle"),
    ]
    return element(
        "g",
        "".join(parts),
        class_="axis",
        data_name=axis.title,
        data_told=axis.told(bottom, top),
        data_ticks=json.dumps([text for _, text in axis.ticks]),
        data_names="yes" if axis.names else "",
        transform=f"translate({x or 0:.1f} 0)",
        display="none" if x is None else None,
    )


def coordinates_figure(scored: Scored) -> Figure:
    """Returns the figure, with a box to tick for each hyperparameter."""
    coordinates = Coordinates(scored)
    caption = (
        f"{len(scored.points)} trials with a result, a line each, colored by the rank of the"
        " result; the winner's is thick. Values of a category are spread a little."
    )
    label = f"Parallel coordinates of {len(scored.points)} trials over {len(scored.names)} axes"
    boxes = _boxes(coordinates)
    return Figure("parallel", label, {"": [coordinates]}, caption, extra=boxes)


def _boxes(coordinates: Coordinates) -> Markup:
    shown = coordinates.names[:SHOWN]
    boxes = (
        Markup('<label><input type="checkbox" data-axis="{}"{}> {}</label>').format(
            coordinates.scored.names[name],
            Markup(" checked") if name in shown else Markup(""),
            coordinates.scored.names[name],
        )
        for name in coordinates.names
    )
    return Markup('<div class="views axes" role="group" aria-label="Axes">{}</div>{}').format(
        Markup("").join(boxes), RANGE
    )
