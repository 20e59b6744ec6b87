"""How a parameter's values are drawn, in the notation of a W&B sweep.

Every distribution is a map from [0, 1): a searcher proposes a number there, and `from_unit` makes
it a value. So random search draws uniformly, and TPE models a learning rate on its log scale
without knowing that it is one.
"""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from inat_ray.config.errors import UserError
from inat_ray.config.faults import explain_fault, key_of
from inat_ray.config.section import SettingKind

JSON = Any

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


def _finite(value: Any) -> Any:
    """Returns a number, also one in quotes. Raises ValueError where it is none."""
    for kind in (int, float) if isinstance(value, str) else ():  # '8' stays a whole number
        with suppress(ValueError):
            value = kind(value)
            break
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and abs(value) < MOST_NUMBER):
        raise ValueError("should be a finite number")
    return value


Finite = Annotated[int | float, BeforeValidator(_finite)]

Bound = Annotated[int | float | None, BeforeValidator(_finite)]


TAKES: dict[str, tuple[set[str], set[str]]] = {
    "constant": ({"value"}, set()),
    "categorical": ({"values"}, {"probabilities"}),
    "int_uniform": ({"min", "max"}, set()),
    "uniform": ({"min", "max"}, set()),
    "q_uniform": ({"min", "max", "q"}, set()),
    "log_uniform_values": ({"min", "max"}, set()),
    "q_log_uniform_values": ({"min", "max", "q"}, set()),
    "normal": ({"mu", "sigma"}, {"min", "max"}),
    "q_normal": ({"mu", "sigma", "q"}, {"min", "max"}),
    "log_normal": ({"mu", "sigma"}, {"min", "max"}),
    "q_log_normal": ({"mu", "sigma", "q"}, {"min", "max"}),
}
"""Distribution -> (keys that it needs, keys that it may have besides)."""


class ParameterSpec(BaseModel):
    """A parameter as it is written, with the keys of all distributions."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)
    distribution: Literal[tuple(TAKES)] | None = None  # type: ignore[valid-type]
    """Implied by `value` (constant), by `values` (categorical), and by `min` and `max`
    (int_uniform if the setting is a whole number, else uniform)."""
    value: JSON = None
    """The only value."""
    values: list[JSON] | None = None
    """The values to choose from."""
    probabilities: list[Finite] | None = None
    """Of each of `values`; they add up to 1. Without them all are as likely."""
    min: Bound = None
    """Smallest value."""
    max: Bound = None
    """Largest value."""
    mu: Bound = None
    """Mean of a normal distribution; log_normal: of the value's natural logarithm."""
    sigma: Bound = Field(None, gt=0)
    """Standard deviation of a normal distribution; log_normal: of the natural logarithm."""
    q: Bound = Field(None, gt=0)
    """Step: values are multiples of it."""
    when: dict[str, JSON] | None = None
    """Condition: the name of a parameter above, and its value, or list of values, for which this
    one exists."""


def parse_parameter(
    spec: Mapping[str, JSON], place: str, *, kind: SettingKind | None = None
) -> Parameter:
    """Returns the parameter that `spec` describes. Raises UserError that begins with `place`.

    `kind`, that of its setting, decides whether two whole bounds are a continuous range.
    """
    read = _read(spec, place)
    distribution = read.distribution or _implied_distribution(read, place, kind=kind)
    _check_keys(distribution, set(spec) - {"distribution", "when"}, place)
    if distribution == "constant":
        return Categorical(values=(read.value,), probabilities=(1.0,))
    if distribution == "categorical":
        return _categorical(read, place)
    if kind == "other":
        raise UserError(f"{place}: this setting is no number and has no range; list its `values`")
    if kind == "whole":
        read = _whole(distribution, read, place)
    return _numeric(distribution, read, place)


def _read(spec: Mapping[str, JSON], place: str) -> ParameterSpec:
    try:
        return ParameterSpec.model_validate(dict(spec))
    except ValidationError as error:
        fault = error.errors()[0]
        if fault["type"] == "extra_forbidden":
            allowed = ", ".join(ParameterSpec.model_fields)
            raise UserError(f"{place}: no such key '{key_of(fault)}'; allowed: {allowed}") from None
        raise UserError(f"{place}.{explain_fault(fault)}") from None


def _implied_distribution(spec: ParameterSpec, place: str, *, kind: SettingKind | None) -> str:
    if "value" in spec.model_fields_set:
        return "constant"
    if spec.values is not None:
        return "categorical"
    if spec.min is None or spec.max is None:
        raise UserError(f"{place}: give `value`, `values`, `min` and `max`, or a `distribution`")
    bounds = (spec.min, spec.max)
    if kind == "whole":
        both_whole = all(float(bound).is_integer() for bound in bounds)
    else:  # of an unknown setting, a point decides: 1 is whole, 1.0 is not
        both_whole = kind is None and all(isinstance(bound, int) for bound in bounds)
    return "int_uniform" if both_whole else "uniform"


def _whole(distribution: str, spec: ParameterSpec, place: str) -> ParameterSpec:
    """Returns it with whole numbers. Raises UserError where a draw might not be whole."""
    names = ("min", "max") if distribution == "int_uniform" else ("q",)
    given = {name: getattr(spec, name) for name in names}
    is_continuous = distribution != "int_uniform" and not distribution.startswith("q_")
    if is_continuous or not all(float(number).is_integer() for number in given.values()):
        raise UserError(
            f"{place}: this setting is a whole number, and {distribution}"
            f"{''.join(f', {name} {number},' for name, number in given.items() if number)} draws"
            " fractions; allowed: int_uniform with whole bounds, q_uniform or another q_... with a"
            " whole q, values"
        )
    return spec.model_copy(update={name: int(number) for name, number in given.items()})


def _check_keys(distribution: str, given: set[str], place: str) -> None:
    needed, optional = TAKES[distribution]
    if missing := sorted(needed - given):
        raise UserError(f"{place}: {distribution} needs {', '.join(missing)}")
    if surplus := sorted(given - needed - optional):
        takes = ", ".join(sorted(needed | optional))
        raise UserError(f"{place}: {distribution} takes no {', '.join(surplus)}; allowed: {takes}")


def _categorical(spec: ParameterSpec, place: str) -> Categorical:
    values = spec.values
    if not values:
        raise UserError(f"{place}.values: the list is empty; at least one value is needed")
    probabilities = spec.probabilities or [1 / len(values)] * len(values)
    if len(probabilities) != len(values):
        raise UserError(
            f"{place}.probabilities: {len(probabilities)} given for {len(values)} values"
        )
    if min(probabilities) < 0 or abs(sum(probabilities) - 1) > 1e-6:
        raise UserError(
            f"{place}.probabilities: {probabilities}: must not be negative and must add up to 1"
        )
    return Categorical(tuple(values), tuple(map(float, probabilities)))


def _numeric(distribution: str, spec: ParameterSpec, place: str) -> Numeric:
    low = -math.inf if spec.min is None else spec.min
    high = math.inf if spec.max is None else spec.max
    if low > high:
        raise UserError(f"{place}: min {low} is above max {high}")
    logarithmic = "log" in distribution
    if logarithmic and spec.min is not None and low <= 0:
        raise UserError(f"{place}.min: {low}: must be above 0 on a log scale")
    if "normal" in distribution:
        return _normal(spec, place, low=low, high=high, logarithmic=logarithmic)
    whole = distribution == "int_uniform"
    if (high - low) / (spec.q or 1) > MOST_STEPS and (whole or spec.q):
        raise UserError(f"{place}: more than {MOST_STEPS:,} steps from {low} to {high}")
    if whole:
        if not (isinstance(low, int) and isinstance(high, int)):
            raise UserError(f"{place}: int_uniform needs whole numbers, not {low} and {high}")
        return Numeric("linear", low=low, high=high, integer=True)
    return _stepped(
        Numeric("log" if logarithmic else "linear", low=low, high=high, step=spec.q), place
    )


def _normal(
    spec: ParameterSpec, place: str, *, low: float, high: float, logarithmic: bool
) -> Numeric:
    mu, sigma = spec.mu, spec.sigma
    assert mu is not None
    assert sigma is not None
    if logarithmic and abs(mu) + 6 * sigma > math.log(MOST_NUMBER):
        raise UserError(f"{place}: mu {mu} with sigma {sigma}: too wide for a logarithm")
    scale: Literal["normal", "log_normal"] = "log_normal" if logarithmic else "normal"
    drawn = Numeric(scale, low=low, high=high, mu=mu, sigma=sigma)
    if spec.q is None:
        return drawn
    # So that its multiples can be counted.
    low, high = max(low, drawn.from_unit(0.0)), min(high, drawn.from_unit(1.0))
    if (high - low) / spec.q > MOST_STEPS:
        raise UserError(f"{place}: more than {MOST_STEPS:,} steps from {low} to {high}")
    return _stepped(replace(drawn, low=low, high=high, step=spec.q), place)


def _stepped(drawn: Numeric, place: str) -> Numeric:
    if drawn.size == 0:
        ends = f"{drawn.low} and {drawn.high}"
        raise UserError(f"{place}.q: no multiple of {drawn.step} lies between {ends}")
    return drawn


def canonical(value: JSON) -> str:
    """Returns a text that is equal for equal JSON alone: those of 1, 1.0 and true all differ."""
    return json.dumps(value, sort_keys=True)
