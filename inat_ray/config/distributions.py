"""How a parameter's values are drawn, in the notation of a W&B sweep.

Every numeric distribution is a map from [0, 1): a searcher proposes a number there and
`from_unit` makes the value. So random search draws uniformly, and TPE models a learning
rate on its log scale without knowing that it is one.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from inat_ray.config.errors import UserError
from inat_ray.config.load import explain_details, key_of
from inat_ray.config.section import SettingKind

JSON = Any

Codes = NDArray[np.float64]
"""What a searcher's model sees of values: places of categories, quantiles of numbers."""

Number = int | float

MOST_NUMBER = 1e300
"""So that differences of numbers are numbers too."""

MOST_STEPS = 2**53
"""Beyond which a float cannot tell one step from the next."""


@dataclass(frozen=True)
class Categorical:
    """One of `values`, drawn with `probabilities` (which add up to 1)."""

    values: tuple[JSON, ...]
    probabilities: tuple[float, ...]

    @property
    def size(self) -> int:
        """How many values can be drawn."""
        return len(self._drawn)

    def at(self, place: int) -> JSON:
        """The value at `place`, counted from 0, of those that can be drawn, as written."""
        return self._drawn[place][0]

    def index(self, value: JSON) -> int:
        """The place of a value. Raises ValueError where it is none of them."""
        try:
            return self._places[canonical(value)]
        except KeyError:
            raise ValueError(value) from None

    def contains(self, value: JSON) -> bool:
        return canonical(value) in self._places

    def with_value(self, value: JSON) -> "Categorical":
        """With one more value, before the others and never drawn."""
        return Categorical((value, *self.values), (0.0, *self.probabilities))

    def code(self, value: JSON) -> float:
        """The value's place: what a searcher's model is told."""
        return float(self.index(value))

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
        return value  # the probabilities' sum may fall short of 1 by a rounding


@dataclass(frozen=True)
class Numeric:
    """A number: uniform on a linear or a log scale, or normal; stepped by `step` if given."""

    scale: Literal["linear", "log", "normal"]
    low: float
    high: float
    mu: float = 0.0
    sigma: float = 1.0
    step: Number | None = None
    integer: bool = False

    @property
    def size(self) -> int | None:
        """How many values it can give; None where there is no end of them."""
        return None if self._stride is None else len(self._multiples)

    def at(self, place: int) -> Number:
        """The value at `place`, counted from 0, ascending; only where there are finitely many."""
        return self._multiple(self._multiples[place])

    def contains(self, value: JSON) -> bool:
        """Whether it can give this value."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high and self.settle(value) == value

    def from_unit(self, u: float) -> Number:
        """The value at quantile u in [0, 1)."""
        match self.scale:
            case "linear":
                # An integer's ends get as much room as the others.
                spread = self.high - self.low + (1 if self.integer else 0)
                value = self.low + u * spread
            case "log":
                low, high = math.log(self.low), math.log(self.high)
                value = math.exp(low + u * (high - low))
            case "normal":
                # An open interval: the quantile function is infinite at its ends.
                value = NormalDist(self.mu, self.sigma).inv_cdf(min(max(u, 1e-9), 1 - 1e-9))
        return self.settle(value)

    def to_unit(self, value: Number) -> float:
        """The quantile of a value: the middle of the cell where values are stepped."""
        match self.scale:
            case "linear":
                spread = self.high - self.low + (1 if self.integer else 0)
                u = (value - self.low + (0.5 if self.integer else 0)) / spread if spread else 0.5
            case "log":
                span = math.log(self.high) - math.log(self.low)
                u = (math.log(value) - math.log(self.low)) / span if span else 0.5
            case "normal":
                u = NormalDist(self.mu, self.sigma).cdf(value)
        return min(max(u, 0.0), math.nextafter(1.0, 0.0))

    def code(self, value: JSON) -> float:
        """The value's quantile: what a searcher's model is told."""
        return self.to_unit(value)

    def from_code(self, code: float) -> Number:
        return self.from_unit(min(max(float(code), 0.0), math.nextafter(1.0, 0.0)))

    def settle(self, value: float) -> Number:
        """The nearest value that the distribution can give."""
        if self.integer:
            return int(min(math.floor(value), self.high))
        if self.step is not None:
            within = self._multiples
            return self._multiple(min(max(round(value / self.step), within[0]), within[-1]))
        return min(max(value, self.low), self.high)

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
        # A decimal step has decimals; 3 * 0.1 is not to be 0.30000000000000004.
        return k * self._stride if isinstance(self._stride, int) else round(k * self._stride, 12)


Parameter = Categorical | Numeric


def _finite(value: Any) -> Any:
    """A number, also one in quotes, as a setting takes it. Raises ValueError where it is none."""
    for kind in (int, float) if isinstance(value, str) else ():
        try:
            value = kind(value)
            break
        except ValueError:
            continue
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and abs(value) < MOST_NUMBER):
        raise ValueError("should be a finite number")
    return value


Finite = Annotated[int | float, BeforeValidator(_finite)]

Bound = Annotated[int | float | None, BeforeValidator(_finite)]


class ParameterSpec(BaseModel):
    """A parameter as it is written: all keys that any distribution takes."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)
    distribution: (
        Literal[
            "constant",
            "categorical",
            "int_uniform",
            "uniform",
            "q_uniform",
            "log_uniform_values",
            "q_log_uniform_values",
            "normal",
        ]
        | None
    ) = None
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
    """Mean of a normal distribution."""
    sigma: Bound = Field(None, gt=0)
    """Standard deviation of a normal distribution."""
    q: Bound = Field(None, gt=0)
    """Step: values are multiples of it."""
    when: dict[str, JSON] | None = None
    """Condition: the name of a parameter above, and its value, or list of values, for which this
    one exists."""


TAKES: dict[str, tuple[set[str], set[str]]] = {
    # distribution: (keys that it needs, keys that it may have besides)
    "constant": ({"value"}, set()),
    "categorical": ({"values"}, {"probabilities"}),
    "int_uniform": ({"min", "max"}, set()),
    "uniform": ({"min", "max"}, set()),
    "q_uniform": ({"min", "max", "q"}, set()),
    "log_uniform_values": ({"min", "max"}, set()),
    "q_log_uniform_values": ({"min", "max", "q"}, set()),
    "normal": ({"mu", "sigma"}, {"min", "max"}),
}


def parse_parameter(
    spec: Mapping[str, JSON], place: str, *, kind: SettingKind | None = None
) -> Parameter:
    """One parameter from its notation. Raises UserError that begins with `place`.

    `kind` of its setting: two whole bounds are a continuous range where it is `fractional`.
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
        details = error.errors()[0]
        key = key_of(details)
        if details["type"] == "extra_forbidden":
            allowed = ", ".join(ParameterSpec.model_fields)
            raise UserError(f"{place}: no such key '{key}'; allowed: {allowed}") from None
        raise UserError(f"{place}.{explain_details(details, key)}") from None


def _implied_distribution(spec: ParameterSpec, place: str, *, kind: SettingKind | None) -> str:
    if "value" in spec.model_fields_set:
        return "constant"
    if spec.values is not None:
        return "categorical"
    if spec.min is not None and spec.max is not None:
        bounds = (spec.min, spec.max)
        if kind == "whole":
            both_whole = all(float(bound).is_integer() for bound in bounds)
        else:
            both_whole = kind is None and all(isinstance(bound, int) for bound in bounds)
        return "int_uniform" if both_whole else "uniform"
    raise UserError(f"{place}: give `value`, `values`, `min` and `max`, or a `distribution`")


def _whole(distribution: str, spec: ParameterSpec, place: str) -> ParameterSpec:
    """Of a whole-number setting. Raises UserError where not every draw is one."""
    numbers = {"int_uniform": ("min", "max")}.get(distribution, ("q",))
    given = {name: getattr(spec, name) for name in numbers}
    if distribution in ("uniform", "log_uniform_values", "normal") or not all(
        float(number).is_integer() for number in given.values()
    ):
        raise UserError(
            f"{place}: this setting is a whole number, and {distribution}"
            f"{''.join(f', {name} {number},' for name, number in given.items() if number)} draws"
            " fractions; allowed: int_uniform with whole bounds, q_uniform or q_log_uniform_values"
            " with a whole q, values"
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
    if distribution == "normal":
        assert spec.mu is not None
        assert spec.sigma is not None
        return Numeric("normal", low=low, high=high, mu=spec.mu, sigma=spec.sigma)
    whole = distribution == "int_uniform"
    if (high - low) / (spec.q or 1) > MOST_STEPS and (whole or spec.q):
        raise UserError(f"{place}: more than {MOST_STEPS:,} steps from {low} to {high}")
    if whole:
        if not (isinstance(low, int) and isinstance(high, int)):
            raise UserError(f"{place}: int_uniform needs whole numbers, not {low} and {high}")
        return Numeric("linear", low=low, high=high, integer=True)
    logarithmic = "log" in distribution
    if logarithmic and low <= 0:
        raise UserError(f"{place}.min: {low}: must be above 0 on a log scale")
    scaled = Numeric("log" if logarithmic else "linear", low=low, high=high, step=spec.q)
    if scaled.size == 0:
        raise UserError(f"{place}.q: no multiple of {spec.q} lies between {low} and {high}")
    return scaled


def canonical(value: JSON) -> str:
    """Equal exactly where two values, or points, are the same JSON: 1, 1.0 and true all differ."""
    return json.dumps(value, sort_keys=True)
