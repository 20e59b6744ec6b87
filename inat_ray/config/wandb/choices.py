"""A parameter of a W&B sweep as a list of values with their probabilities."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import prod

from inat_ray.config.distributions import JSON, Parameter, Tree, canonical
from inat_ray.config.errors import UserError
from inat_ray.config.parameter_spec import parse_parameter
from inat_ray.config.wandb.values import number

MOST_LISTED = 100
"""The most values of a setting that has no ranges, where a sweep has one."""

Listed = Sequence[tuple[JSON, float]]
"""Values with their probabilities."""


class NotHadError(ValueError):
    """A value that the setting here does not have."""

    def __init__(self, value: JSON, others: Sequence[JSON] = ()) -> None:
        super().__init__(value)
        self.value, self.others = value, others


def values_in(spec: Mapping[str, JSON]) -> list[JSON]:
    values = spec.get("values", [spec["value"]] if "value" in spec else [])
    return values if isinstance(values, list) else []


def as_parameter(spec: Tree) -> Parameter:
    try:
        return parse_parameter(spec)
    except UserError as error:
        raise ValueError(str(error).removeprefix(".")) from None


def listed(spec: Tree) -> Listed:
    """Returns the values that a parameter can have. Raises ValueError if they are too many."""
    values, probabilities = values_in(spec), spec.get("probabilities")
    if not values and "distribution" in spec:
        parameter = as_parameter(spec)
        if parameter.size is None or parameter.size > MOST_LISTED:
            raise ValueError("this setting has no range; `values` lists what to try")
        values = [parameter.at(place) for place in range(parameter.size)]
    if not values:
        raise ValueError("the list of values is empty")
    if probabilities is None:
        probabilities = [1 / len(values)] * len(values)
    if not isinstance(probabilities, list) or len(probabilities) != len(values):
        raise ValueError(f"needs a list of {len(values)} probabilities, one for each value")
    return list(zip(values, map(number, probabilities), strict=True))


def combined(parts: Sequence[Listed], combine: Callable[..., JSON]) -> Listed:
    """Returns what `combine` makes of every choice of one value each.

    Raises ValueError if they are too many for one setting.
    """
    if (count := prod(map(len, parts))) > MOST_LISTED:
        raise ValueError(f"{count:,} combinations are too many for one setting")
    chosen = (zip(*choice, strict=True) for choice in product(*parts))
    return [(combine(*values), prod(shares)) for values, shares in chosen]


def read_values(given: Listed, read: Callable[[JSON], JSON]) -> Listed:
    """Returns the values as the setting has them. Raises NotHadError at one that it has not."""
    values, unknown = [], []
    for value, probability in given:
        try:
            values.append((read(value), probability))
        except (ValueError, KeyError, TypeError):
            unknown.append(value)
    if unknown:
        raise NotHadError(unknown[0], [value for value, _ in given if value not in unknown])
    return values


def weighed(given: Listed) -> Tree:
    """Returns a parameter of these values; what is there twice is there once, and as likely."""
    values = {canonical(value): value for value, _ in given}
    weights = dict.fromkeys(values, 0.0)
    for value, probability in given:
        weights[canonical(value)] += probability
    if len(values) == 1:
        return {"value": given[0][0]}
    if len({round(weight, 9) for weight in weights.values()}) == 1:
        return {"values": [*values.values()]}
    return {"values": [*values.values()], "probabilities": [round(w, 9) for w in weights.values()]}


def shared(spec: Tree, whole: float) -> Tree:
    """Returns a parameter of the shares that its values are of `whole`.

    Raises ValueError where it is no list and no range that begins and ends with a number.
    """
    if spec.get("distribution") in ("uniform", "log_uniform_values"):
        return spec | {bound: _share(spec[bound], whole) for bound in ("min", "max")}
    return weighed([(_share(value, whole), weight) for value, weight in listed(spec)])


def _share(value: JSON, whole: float) -> float:
    return float(f"{number(value) / whole:.12g}")
