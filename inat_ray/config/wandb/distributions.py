"""The distributions of a W&B sweep, in ours.

Ours are W&B's but for those whose bounds are exponents of e, which become the values that they
stand for. What W&B leaves to a default is written out.
"""

import math
from collections.abc import Mapping

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from inat_ray.config.distributions import JSON, MOST_NUMBER, MOST_STEPS, Tree
from inat_ray.config.parameter_spec import TAKES
from inat_ray.config.wandb.values import number

OF_EXPONENTS = ("log_uniform", "q_log_uniform", "inv_log_uniform")
"""Distributions whose bounds are exponents."""

FAR = 6
"""Standard deviations from its mean within which a normal distribution draws."""


LISTS = {"constant": "value", "categorical": "values", "categorical_w_probabilities": "values"}
"""What each of the distributions needs that are no numbers drawn from a range."""


def drawn(spec: Mapping[str, JSON]) -> Tree:
    """Returns how a parameter is drawn, with its distribution named unless its values are listed.

    Raises ValueError with the reason where there is no such distribution here, or a key is missing;
    a second argument is the change of the parameter that mends it, and what that does.
    """
    given = dict(spec)
    name = str(given.pop("distribution", None) or _implied(given))
    if (needed := LISTS.get(name)) is not None:
        if needed not in given or (needed == "values" and not isinstance(given[needed], list)):
            raise ValueError(f"{name} needs {needed}")
        return given
    if name not in TAKES and name not in OF_EXPONENTS and name != "inv_log_uniform_values":
        raise ValueError(f"distribution {name!r}: there is none of that name here")
    numbers = {key: _number(key, value) for key, value in given.items()}
    if "normal" in name:
        defaults = {"mu": 0, "sigma": 1} | ({"q": 1} if name.startswith("q_") else {})
        return {"distribution": name, **defaults, **numbers}
    return _range(name, numbers)


def _range(name: str, spec: Tree) -> Tree:
    if not {"min", "max"} <= spec.keys():
        raise ValueError("a range needs min and max")
    if name in OF_EXPONENTS:
        spec |= _values(spec, sign=-1 if name.startswith("inv_") else 1)
        name += "_values"
    if name.startswith("q_"):
        spec |= _multiples(spec)
    # log(1/X) is uniform as log(X) is, so it is the same distribution from the other end.
    return {"distribution": name.removeprefix("inv_"), **spec}


def _number(key: str, value: JSON) -> JSON:
    if value is None:
        raise ValueError(f"{key} is empty")
    return number(value)


def _implied(spec: Tree) -> str:
    if "value" in spec or "values" in spec:
        return "constant" if "value" in spec else "categorical"
    if not {"min", "max"} <= spec.keys():
        raise ValueError("has neither value, values, min and max, nor a distribution")
    bounds = (_number(key, spec[key]) for key in ("min", "max"))
    return "int_uniform" if all(isinstance(bound, int) for bound in bounds) else "uniform"


def _multiples(spec: Tree) -> Tree:
    """Returns the ends of a range that W&B rounds after it drew: the multiples next to them."""
    low, high, step = spec["min"], spec["max"], spec.get("q", 1)
    if step <= 0 or max(-low, high) / step > MOST_STEPS:
        raise ValueError(f"q {step} makes no steps from {low:g} to {high:g}")
    return {"min": round(low / step) * step or low, "max": round(high / step) * step, "q": step}


def _values(spec: Tree, *, sign: int) -> Tree:
    """Returns the ends of a range whose bounds are exponents of e, or of 1/e."""
    low, high = sorted(sign * spec[bound] for bound in ("min", "max"))
    if sign == 1 and 0 < low < high <= 1:  # the slip of most who name log_uniform
        raise ValueError(
            f"the bounds of log_uniform are exponents of e, so W&B draws {math.exp(low):.6g} to"
            f" {math.exp(high):.6g}",
            f"distribution=log_uniform_values draws {low:g} to {high:g}",
        )
    if max(-low, high) > math.log(MOST_NUMBER):
        raise ValueError(f"its bounds are exponents of e, and e^{max(-low, high):g} is too much")
    return {"min": float(f"{math.exp(low):.6g}"), "max": float(f"{math.exp(high):.6g}")}


def kept_inside(spec: Tree, setting: FieldInfo) -> Tree:
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
            reason = f"draws values from {low:.4g} on, and must be above {bound.gt}"
            raise ValueError(reason, "min=NUMBER keeps it above")
        elif isinstance(bound, Lt) and high >= bound.lt:
            reason = f"draws values up to {high:.4g}, and must be below {bound.lt}"
            raise ValueError(reason, "max=NUMBER keeps it below")
    return kept
