"""The distributions of a W&B sweep, in ours.

Ours are W&B's but for those whose bounds are exponents of e, which become the values that they
stand for. What W&B leaves to a default is written out.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from inat_ray.config.distributions import MOST_NUMBER, MOST_STEPS
from inat_ray.config.wandb.values import number

JSON = Any
Spec = dict[str, Any]

FAR = 6
"""Standard deviations from its mean within which a normal distribution draws."""


def drawn(spec: Mapping[str, JSON]) -> Spec:
    """Returns how a parameter is drawn, with its distribution named unless its values are listed.

    Raises ValueError with the reason where there is no such distribution here, or a key is missing;
    a second argument is the change of the parameter that mends it, and what that does.
    """
    given = dict(spec)
    name = str(given.pop("distribution", None) or _implied(given))
    if name in ("constant", "categorical", "categorical_w_probabilities"):
        needed = "value" if name == "constant" else "values"
        if needed not in given or (needed == "values" and not isinstance(given[needed], list)):
            raise ValueError(f"{name} needs {needed}")
        return given
    if name not in _READERS:
        raise ValueError(f"distribution {name!r}: there is none of that name here")
    return _READERS[name]({key: _number(key, value) for key, value in given.items()})


def _number(key: str, value: JSON) -> JSON:
    if value is None:
        raise ValueError(f"{key} is empty")
    return number(value)


def _implied(spec: Spec) -> str:
    if "value" in spec or "values" in spec:
        return "constant" if "value" in spec else "categorical"
    if not {"min", "max"} <= spec.keys():
        raise ValueError("has neither value, values, min and max, nor a distribution")
    bounds = (_number(key, spec[key]) for key in ("min", "max"))
    return "int_uniform" if all(isinstance(bound, int) for bound in bounds) else "uniform"


def _as_it_is(name: str, **defaults: float) -> Callable[[Spec], Spec]:
    def read(spec: Spec) -> Spec:
        return {"distribution": name, **defaults, **spec}

    return read


def _stepped(name: str) -> Callable[[Spec], Spec]:
    """Reads a range that W&B rounds after it drew: its ends are the multiples next to them."""

    def read(spec: Spec) -> Spec:
        low, high = _bounds(spec)
        step = spec.get("q", 1)
        if step <= 0 or max(-low, high) / step > MOST_STEPS:
            raise ValueError(f"q {step} makes no steps from {low:g} to {high:g}")
        near = {"min": round(low / step) * step or low, "max": round(high / step) * step}
        return {"distribution": name, **spec, **near, "q": step}

    return read


def _exponents(read: Callable[[Spec], Spec], *, sign: int = 1) -> Callable[[Spec], Spec]:
    """Reads a range whose bounds are exponents of e, or of 1/e."""

    def values(spec: Spec) -> Spec:
        low, high = sorted(sign * bound for bound in _bounds(spec))
        if sign == 1 and 0 < low < high <= 1:  # the slip of most who name log_uniform
            raise ValueError(
                f"the bounds of log_uniform are exponents of e, so W&B draws {math.exp(low):.6g} to"
                f" {math.exp(high):.6g}",
                f"distribution=log_uniform_values draws {low:g} to {high:g}",
            )
        if max(-low, high) > math.log(MOST_NUMBER):
            raise ValueError(
                f"its bounds are exponents of e, and e^{max(-low, high):g} is too much"
            )
        return read({**spec, "min": _rounded(low), "max": _rounded(high)})

    return values


def _rounded(exponent: float) -> float:
    return float(f"{math.exp(exponent):.6g}")


def _bounds(spec: Spec) -> tuple[float, float]:
    if not {"min", "max"} <= spec.keys():
        raise ValueError("a range needs min and max")
    return spec["min"], spec["max"]


_LOG = _as_it_is("log_uniform_values")
_Q_LOG = _stepped("q_log_uniform_values")

_READERS: dict[str, Callable[[Spec], Spec]] = {
    "int_uniform": _as_it_is("int_uniform"),
    "uniform": _as_it_is("uniform"),
    "q_uniform": _stepped("q_uniform"),
    "log_uniform_values": _LOG,
    "q_log_uniform_values": _Q_LOG,
    # log(1/X) is uniform as log(X) is, so it is the same distribution from the other end.
    "inv_log_uniform_values": _LOG,
    "log_uniform": _exponents(_LOG),
    "q_log_uniform": _exponents(_Q_LOG),
    "inv_log_uniform": _exponents(_LOG, sign=-1),
    "normal": _as_it_is("normal", mu=0, sigma=1),
    "q_normal": _as_it_is("q_normal", mu=0, sigma=1, q=1),
    "log_normal": _as_it_is("log_normal", mu=0, sigma=1),
    "q_log_normal": _as_it_is("q_log_normal", mu=0, sigma=1, q=1),
}


def kept_inside(spec: Spec, setting: FieldInfo) -> Spec:
    """Returns a normal distribution with the bounds of its setting where it reaches beyond them.

    Raises ValueError, as `drawn` does, where the setting has no last value on that side.
    """
    if "normal" not in spec.get("distribution", ""):
        return spec
    reach = [spec["mu"] + side * FAR * spec["sigma"] for side in (-1, 1)]
    if "log" in spec["distribution"]:
        reach = [math.exp(min(end, 690)) for end in reach]
    low, high = max(reach[0], spec.get("min", -math.inf)), min(reach[1], spec.get("max", math.inf))
    kept = dict(spec)
    for bound in setting.metadata:
        if isinstance(bound, Ge) and low < bound.ge:
            kept["min"] = bound.ge
        elif isinstance(bound, Le) and high > bound.le:
            kept["max"] = bound.le
        elif isinstance(bound, Gt) and low <= bound.gt:
            raise ValueError(
                f"draws values from {low:.4g} on, and must be above {bound.gt}",
                "min=NUMBER keeps it above",
            )
        elif isinstance(bound, Lt) and high >= bound.lt:
            raise ValueError(
                f"draws values up to {high:.4g}, and must be below {bound.lt}",
                "max=NUMBER keeps it below",
            )
    return kept
