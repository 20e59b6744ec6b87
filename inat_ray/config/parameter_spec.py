"""A parameter as it is written, in the notation of a W&B sweep, and how it is read."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from inat_ray.config.distributions import (
    JSON,
    MOST_NUMBER,
    MOST_STEPS,
    Categorical,
    Numeric,
    Parameter,
    as_number,
)
from inat_ray.config.errors import UserError
from inat_ray.config.faults import explain_fault, key_of
from inat_ray.config.section import SettingKind


def _finite(value: Any) -> Any:
    """Returns a number, also one in quotes. Raises ValueError where it is none."""
    if (number := as_number(value)) is None:
        raise ValueError("should be a finite number")
    return number


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


def parse_parameter(spec: Mapping[str, JSON], *, kind: SettingKind | None = None) -> Parameter:
    """Returns the parameter that `spec` describes. Raises UserError; see `about`.

    `kind`, that of its setting, decides whether two whole bounds are a continuous range.
    """
    read = _read(spec)
    distribution = read.distribution or _implied_distribution(read, kind=kind)
    _check_keys(distribution, set(spec) - {"distribution", "when"})
    if distribution == "constant":
        return Categorical(values=(read.value,), probabilities=(1.0,))
    if distribution == "categorical":
        return _categorical(read)
    if kind == "other":
        raise UserError("this setting is no number and has no range; list its `values`")
    if kind == "whole":
        read = _whole(distribution, read)
    return _numeric(distribution, read)


def _read(spec: Mapping[str, JSON]) -> ParameterSpec:
    try:
        return ParameterSpec.model_validate(dict(spec))
    except ValidationError as error:
        fault = error.errors()[0]
        if fault["type"] == "extra_forbidden":
            allowed = ", ".join(ParameterSpec.model_fields)
            raise UserError(f"no such key '{key_of(fault)}'; allowed: {allowed}") from None
        raise UserError(f".{explain_fault(fault)}") from None


def _implied_distribution(spec: ParameterSpec, *, kind: SettingKind | None) -> str:
    if "value" in spec.model_fields_set:
        return "constant"
    if spec.values is not None:
        return "categorical"
    if spec.min is None or spec.max is None:
        raise UserError("give `value`, `values`, `min` and `max`, or a `distribution`")
    bounds = (spec.min, spec.max)
    if kind == "whole":
        both_whole = all(float(bound).is_integer() for bound in bounds)
    else:  # of an unknown setting, a point decides: 1 is whole, 1.0 is not
        both_whole = kind is None and all(isinstance(bound, int) for bound in bounds)
    return "int_uniform" if both_whole else "uniform"


def _whole(distribution: str, spec: ParameterSpec) -> ParameterSpec:
    """Returns it with whole numbers. Raises UserError where a draw might not be whole."""
    names = ("min", "max") if distribution == "int_uniform" else ("q",)
    given = {name: getattr(spec, name) for name in names}
    is_continuous = distribution != "int_uniform" and not distribution.startswith("q_")
    if is_continuous or not all(float(number).is_integer() for number in given.values()):
        raise UserError(
            f"this setting is a whole number, and {distribution}"
            f"{''.join(f', {name} {number},' for name, number in given.items() if number)} draws"
            " fractions; allowed: int_uniform with whole bounds, q_uniform or another q_... with a"
            " whole q, values"
        )
    return spec.model_copy(update={name: int(number) for name, number in given.items()})


def _check_keys(distribution: str, given: set[str]) -> None:
    needed, optional = TAKES[distribution]
    if missing := sorted(needed - given):
        raise UserError(f"{distribution} needs {', '.join(missing)}")
    if surplus := sorted(given - needed - optional):
        takes = ", ".join(sorted(needed | optional))
        raise UserError(f"{distribution} takes no {', '.join(surplus)}; allowed: {takes}")


def _categorical(spec: ParameterSpec) -> Categorical:
    values = spec.values
    if not values:
        raise UserError(".values: the list is empty; at least one value is needed")
    probabilities = spec.probabilities or [1 / len(values)] * len(values)
    if len(probabilities) != len(values):
        raise UserError(f".probabilities: {len(probabilities)} given for {len(values)} values")
    if min(probabilities) < 0 or abs(sum(probabilities) - 1) > 1e-6:
        raise UserError(
            f".probabilities: {probabilities}: must not be negative and must add up to 1"
        )
    return Categorical(tuple(values), tuple(map(float, probabilities)))


def _numeric(distribution: str, spec: ParameterSpec) -> Numeric:
    low = -math.inf if spec.min is None else spec.min
    high = math.inf if spec.max is None else spec.max
    if low > high:
        raise UserError(f"min {low} is above max {high}")
    log = "log" in distribution
    if log and spec.min is not None and low <= 0:
        raise UserError(f".min: {low}: must be above 0 on a log scale")
    is_whole = distribution == "int_uniform"
    if "normal" in distribution:
        drawn = _normal(spec, low=low, high=high, log=log)
        if spec.q is not None:  # so that its multiples can be counted
            low, high = max(low, drawn.from_unit(0.0)), min(high, drawn.from_unit(1.0))
    else:
        drawn = Numeric("log" if log else "linear", low=low, high=high, integer=is_whole)
    if (is_whole or spec.q) and (high - low) / (spec.q or 1) > MOST_STEPS:
        raise UserError(f"more than {MOST_STEPS:,} steps from {low} to {high}")
    if is_whole and not (isinstance(low, int) and isinstance(high, int)):
        raise UserError(f"int_uniform needs whole numbers, not {low} and {high}")
    drawn = replace(drawn, low=low, high=high, step=spec.q)
    if drawn.size == 0:
        raise UserError(f".q: no multiple of {spec.q} lies between {low} and {high}")
    return drawn


def _normal(spec: ParameterSpec, *, low: float, high: float, log: bool) -> Numeric:
    mu, sigma = spec.mu, spec.sigma
    assert mu is not None
    assert sigma is not None
    if log and abs(mu) + 6 * sigma > math.log(MOST_NUMBER):
        raise UserError(f"mu {mu} with sigma {sigma}: too wide for a logarithm")
    return Numeric("log_normal" if log else "normal", low=low, high=high, mu=mu, sigma=sigma)
