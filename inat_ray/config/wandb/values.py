"""The values that people write in W&B sweeps, read as those that settings have here.

A reader raises ValueError, KeyError or TypeError at a value that its setting does not have.
"""

import re
from collections.abc import Callable, Mapping

from inat_ray.config.distributions import JSON, as_number


def plain(name: object) -> str:
    """Returns a name as the tables have it: 'Learning-Rate' and learning_rate are one."""
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def words(text: str) -> set[str]:
    return {plain(word) for word in text.split()}


def number(value: JSON) -> JSON:
    """Returns a number, also one in quotes; null stays. Raises ValueError where it is none."""
    if value is not None and as_number(value) is None:
        raise ValueError(f"{value!r} is no number")
    return as_number(value)


def as_it_is(value: JSON) -> JSON:
    """Returns a value of a setting that has its name from us."""
    return value


TRUTH = dict.fromkeys(words("true yes on 1 y t"), True)
TRUTH |= dict.fromkeys(words("false no off 0 n f"), False)


def yes(value: JSON) -> bool:
    return TRUTH[plain(value)]


def augments(value: JSON) -> bool:
    return False if plain(value) in ("none", "") else yes(value)


def choice(names: Mapping[str, str]) -> Callable[[JSON], str]:
    """Reads one of the names here, or one of the others that people have for it."""
    known = {word: name for name, others in names.items() for word in words(f"{name} {others}")}
    return lambda value: known[plain(value)]


def freezing(names: Mapping[str, str]) -> Callable[[JSON], dict[str, JSON]]:
    """Reads a strategy of freezing, as `choice` does, into the section that it stands in."""
    read = choice(names)

    def section(value: JSON) -> dict[str, JSON]:
        strategy = read(value)
        return {"strategy": strategy} | ({"every": 1} if strategy == "gradual" else {})

    return section


def five(value: JSON) -> list[int]:
    """Returns a number for each of the CNN's five blocks, from one, or from a list of five."""
    if isinstance(value, str) and re.fullmatch(r"[\[(]?[\d, ]+[\])]?", value):
        value = [int(each) for each in re.findall(r"\d+", value)]
        value = value[0] if len(value) == 1 else value
    numbers = [whole(each) for each in (value if isinstance(value, list) else [value] * 5)]
    if len(numbers) != 5:
        raise ValueError
    return numbers


def whole(value: JSON) -> int:
    if not float(number(value)).is_integer():
        raise ValueError
    return int(number(value))


def side(value: JSON) -> JSON:
    """Returns the side of a square, from one number, or from a list of equal ones."""
    sides = value if isinstance(value, list) else [value]
    if len({*sides}) != 1:
        raise ValueError
    return number(sides[0])


def percent(value: JSON) -> float:
    return float(number(value)) / 100
