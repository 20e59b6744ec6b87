"""How a parameter's values are drawn, in the notation of a W&B sweep.

Every distribution is a map from [0, 1): a searcher proposes a number there, and `from_unit` makes
it a value. So random search draws uniformly, and TPE models a learning rate on its log scale
without knowing that it is one.
"""

import json
import math
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

JSON = Any
"""A value that JSON can hold."""

Tree = dict[str, Any]
"""A mapping of settings, as a file has it."""

Codes = NDArray[np.float64]
"""Values as a searcher's model sees them: positions of categories, quantiles of numbers."""

Number = int | float

MOST_NUMBER = 1e300
"""Floats end at 1.8e308: below this, the width of a range is finite, too."""

MOST_STEPS = 2**53
"""Beyond them a float cannot tell one step from the next."""

LAST_QUANTILE = math.nextafter(1.0, 0.0)


@dataclass(frozen=True)
class Categorical:
    """One of `values`, drawn with `probabilities` (which add up to 1)."""

    values: tuple[JSON, ...]
    probabilities: tuple[float, ...]

    @property
    def size(self) -> int:
        """The number of values that can be drawn."""
        return len(self._drawn)

    @property
    def extremes(self) -> list[JSON]:
        """Values that stand for all where they are tried on an experiment: every one."""
        return list(self.values)

    def at(self, place: int) -> JSON:
        """Returns the value at `place`, counted from 0, of those that can be drawn."""
        return self._drawn[place][0]

    def contains(self, value: JSON) -> bool:
        return canonical(value) in self._places

    def with_value(self, value: JSON) -> "Categorical":
        """Adds a value, before the others and never drawn."""
        return Categorical((value, *self.values), (0.0, *self.probabilities))

    def code(self, value: JSON) -> float:
        """Returns the place of a value among `values`."""
        return float(self._places[canonical(value)])

    def from_code(self, code: float) -> JSON:
        return self.values[int(code)]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {canonical(value): place for place, value in enumerate(self.values)}

    @cached_property
    def _drawn(self) -> list[tuple[JSON, float]]:
        both = zip(self.values, self.probabilities, strict=True)
        return [(value, probability) for value, probability in both if probability > 0]

    def from_unit(self, u: float) -> JSON:
        total = 0.0
        for value, probability in self._drawn:
            total += probability
            if u < total:
                return value
        return value  # rounding may leave the sum of the probabilities below 1


@dataclass(frozen=True)
class Numeric:
    """A number: uniform or normal, itself or its logarithm; stepped by `step` if given."""

    scale: Literal["linear", "log", "normal", "log_normal"]
    low: float
    high: float
    mu: float = 0.0
    sigma: float = 1.0
    step: Number | None = None
    integer: bool = False

    @property
    def size(self) -> int | None:
        """The number of values that can be drawn; None if it is infinite."""
        return None if self._stride is None else len(self._multiples)

    @property
    def extremes(self) -> list[JSON]:
        """Values that stand for all: the ends of the range; of a normal, 6 sigma from its mu."""
        return [
            self.settle(max(self.low, self.from_unit(0.0))),
            self.settle(min(self.high, self.from_unit(1.0))),
        ]

    def at(self, place: int) -> Number:
        """Returns the value at `place`, counted from 0, ascending. The size must be finite."""
        return self._multiple(self._multiples[place])

    def contains(self, value: JSON) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high and self.settle(value) == value

    def from_unit(self, u: float) -> Number:
        """Returns the value at quantile u in [0, 1)."""
        if "normal" in self.scale:
            # The quantile function is infinite at 0 and 1.
            value = NormalDist(self.mu, self.sigma).inv_cdf(min(max(u, 1e-9), 1 - 1e-9))
        else:
            low, high = self._ends
            value = low + u * (high - low)
        return self.settle(math.exp(value) if "log" in self.scale else value)

    def code(self, value: JSON) -> float:
        """Returns the quantile of a value."""
        # An integer owns the unit of the scale above it; its code is the middle of that.
        at = math.log(value) if "log" in self.scale else value + (0.5 if self.integer else 0)
        if "normal" in self.scale:
            u = NormalDist(self.mu, self.sigma).cdf(at)
        else:
            low, high = self._ends
            u = (at - low) / (high - low) if high > low else 0.5
        return min(max(u, 0.0), LAST_QUANTILE)

    def from_code(self, code: float) -> Number:
        return self.from_unit(min(max(float(code), 0.0), LAST_QUANTILE))

    def settle(self, value: float) -> Number:
        """Returns the nearest value that can be drawn; of integers the one below."""
        if self.integer:
            return int(min(math.floor(value), self.high))
        if self.step is not None:
            within = self._multiples
            return self._multiple(min(max(round(value / self.step), within[0]), within[-1]))
        return min(max(value, self.low), self.high)

    @property
    def _ends(self) -> tuple[float, float]:
        """The range on the scale on which values are uniform."""
        if self.scale == "log":
            return math.log(self.low), math.log(self.high)
        # With one more unit, the highest integer is as likely as the others: see `settle`.
        return self.low, self.high + (1 if self.integer else 0)

    @property
    def _stride(self) -> Number | None:
        return 1 if self.integer else self.step

    @property
    def _multiples(self) -> range:
        """The k for which k strides lie within the bounds."""
        assert self._stride is not None
        # Rounded, because 0.3 / 0.1 falls short of 3.
        low, high = (round(bound / self._stride, 9) for bound in (self.low, self.high))
        return range(math.ceil(low), math.floor(high) + 1)

    def _multiple(self, k: int) -> Number:
        assert self._stride is not None
        # 3 * 0.1 is 0.30000000000000004, and the user wrote a step with one decimal.
        return k * self._stride if isinstance(self._stride, int) else round(k * self._stride, 12)


Parameter = Categorical | Numeric


def as_number(value: JSON) -> Number | None:
    """Returns a finite number, also one in quotes; None for anything else."""
    for kind in (int, float) if isinstance(value, str) else ():  # '8' stays a whole number
        with suppress(ValueError):
            value = kind(value)
            break
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and abs(value) < MOST_NUMBER else None


def canonical(value: JSON) -> str:
    """Returns a text that is equal for equal JSON alone: those of 1, 1.0 and true all differ."""
    return json.dumps(value, sort_keys=True)
