"""Axes: where a value stands between an axis' two ends, and the round numbers written there."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from inat_ray.config.metrics import METRICS

ROUND = (1, 2, 5)
"""Steps between ticks, times a power of ten."""

PAD = 0.04
"""Room beyond the least and the greatest value, as a share of what lies between them."""

MOST_TICKS = 6

SMALL = 0.01
"""Powers of ten below it are written as 1e-3, as in an experiment."""

Ticks = list[tuple[float, str]]
"""Values on an axis, and what is written there."""


@dataclass(frozen=True)
class Axis:
    """A direction of a plot. Places are between 0, at its low end, and 1."""

    title: str
    low: float
    high: float
    ticks: Ticks
    logarithmic: bool = False
    share: bool = False
    """Whether values are shown in percent."""
    names: Sequence[str] = ()
    """Of an axis of categories, whose values are 0, 1, 2, ..."""

    def at(self, value: float) -> float:
        """Returns the place of a value; beyond the ends it is below 0 or above 1."""
        low, value, high = (self._straight(v) for v in (self.low, value, self.high))
        return (value - low) / (high - low)

    def text(self, value: float) -> str:
        """Returns a value as data: a number, or the name of a category."""
        return self.names[round(value)] if self.names else f"{value:.6g}"

    def told(self, start: float, end: float) -> str:
        """Returns how values become pixels from `start` to `end`, for the page's scripts."""
        ends = f"{self.low:.9g} {self.high:.9g} {start:.1f} {end:.1f}"
        return ends + " log" * self.logarithmic

    def _straight(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value


def linear(
    title: str,
    values: Iterable[float],
    *,
    share: bool = False,
    whole: bool = False,
    zero: bool = False,
    pad: float = PAD,
    most: int = MOST_TICKS,
) -> Axis:
    """Returns an axis from the least to the greatest value, with some room beyond them.

    `share`: ticks are percent; `whole`: they are whole numbers; `zero`: it begins at 0.
    """
    found = [value for value in values if math.isfinite(value)]
    low, high = min(found, default=0.0), max(found, default=1.0)
    low = min(0.0, low) if zero else low
    room = pad * (high - low) or 0.05 * abs(high) or 0.5
    low, high = (low if zero else low - room), high + room
    return Axis(
        title, low, high, round_ticks(low, high, share=share, whole=whole, most=most), share=share
    )


def of_metric(metric: str, values: Iterable[float], title: str = "{}") -> Axis:
    """Returns the axis of a metric; {} in the title stands for its label."""
    told = METRICS[metric]
    return linear(title.format(told.label), values, share=told.is_share)


def logarithmic(
    title: str, values: Iterable[float], *, text: Callable[[float], str] | None = None
) -> Axis:
    """Returns an axis on which equal factors are equally far apart; all values are above 0.

    `text` writes a value, where it is not a bare number.
    """
    logs = [math.log10(value) for value in values]
    low, high = min(logs, default=0.0), max(logs, default=1.0)
    room = PAD * (high - low) or 0.2
    low, high = low - room, high + room
    ticks = power_ticks(low, high)
    if text:
        told = [text(value) for value, _ in ticks]
        # Ticks that lie close together may read alike: 152 K and 152 K.
        digits = [f"{value:,.6g}" for value, _ in ticks]
        alike = len({*told}) < len(told)
        ticks = [(v, word) for (v, _), word in zip(ticks, digits if alike else told, strict=True)]
    return Axis(title, 10**low, 10**high, ticks, logarithmic=True)


def categories(title: str, names: Sequence[str]) -> Axis:
    """Returns an axis on which each name has as much room as any other."""
    return Axis(title, -0.5, len(names) - 0.5, list(enumerate(names)), names=names)


def downwards(title: str, names: Sequence[str]) -> Axis:
    """Returns an axis of categories of which the first is on top."""
    axis = categories(title, names)
    return Axis(title, axis.high, axis.low, axis.ticks, names=names)


def round_ticks(
    low: float, high: float, *, share: bool = False, whole: bool = False, most: int = MOST_TICKS
) -> Ticks:
    """Returns up to `most` round values between two ends."""
    power = math.floor(math.log10((high - low) / most))
    steps = (factor * 10.0**p for p in range(power, power + 20) for factor in ROUND)
    step = next(
        s for s in steps if _fits(low, high, s, most) and (not whole or (s >= 1 and s == round(s)))
    )
    digits = max(0, -math.floor(math.log10(step * (100 if share else 1)) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    values = [step * place + 0.0 for place in range(first, last + 1)]
    return [(v, f"{100 * v:.{digits}f} %" if share else f"{v:,.{digits}f}") for v in values]


def _fits(low: float, high: float, step: float, most: int) -> bool:
    return math.floor(high / step + 1e-9) - math.ceil(low / step - 1e-9) + 1 <= most


def power_ticks(low: float, high: float) -> Ticks:
    """Returns powers of ten between 10^low and 10^high; within one or two, 2 and 5 times them too.

    What lies between none of those has round values as a linear axis has.
    """
    powers = range(math.floor(low), math.ceil(high) + 1)
    every = max(1, math.ceil((high - low) / MOST_TICKS))
    factors = (1,) if high - low >= 2 else (1, 3) if high - low >= 1.2 else (1, 2, 5)
    marked = [(f, p) for p in powers if p % every == 0 for f in factors]
    inside = [(f, p) for f, p in marked if low <= math.log10(f) + p <= high]
    if len(inside) < 2:
        return [(v, f"{v:.3g}") for v, _ in round_ticks(10**low, 10**high, most=4) if v > 0]
    small = 10**low < SMALL
    return [
        (f * 10.0**p, f"{f}e{p}" if small or p > 4 else f"{f * 10.0**p:,.6g}") for f, p in inside
    ]
