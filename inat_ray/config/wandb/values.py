"""The values that people write in W&B sweeps, read as those that settings have here.

A reader raises ValueError, KeyError or TypeError at a value that its setting does not have.
"""

import re
from collections.abc import Callable, Mapping

from inat_ray.config.distributions import JSON, MOST_NUMBER


def plain(name: object) -> str:
    """Returns a name as the tables have it: 'Learning-Rate' and learning_rate are one."""
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def words(text: str) -> set[str]:
    return {plain(word) for word in text.split()}


def number(value: JSON) -> JSON:
    """Returns a number, also one in quotes; null stays. Raises ValueError where it is none."""
    if isinstance(value, str):
        try:
            value = float(value) if re.search(r"[.eEn]", value) else int(value)
        except ValueError:
            raise ValueError(f"{value!r} is no number") from None
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise ValueError(f"{value!r} is no number")
    if value is not None and not abs(value) < MOST_NUMBER:
        raise ValueError(f"{value!r} is no number to reckon with")
    return value


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


def frozen(value: JSON) -> dict[str, JSON]:
    """Reads whether, or in which way, the pre-trained part is frozen."""
    all_but_head = "true yes all backbone freeze_all freeze_backbone"
    return _way(value, head_only=all_but_head, none="false no none")


def trained(value: JSON) -> dict[str, JSON]:
    """Reads whether the pre-trained part trains, too, or which part of it."""
    return _way(value, head_only="false no none head classifier", none="true yes all")


def _way(value: JSON, *, head_only: str, none: str) -> dict[str, JSON]:
    ways = {
        "head_only": f"{head_only} feature_extraction feature_extractor linear_probe",
        "none": f"{none} full nothing finetune finetune_all full_finetune unfreeze_all",
        "gradual": "gradual_unfreezing",
        "freeze_fc": "",
    }
    # One that is said, such as `none`, is not the way of that name: see `trained`.
    known = {plain(way): way for way in ways}
    known |= {word: way for way, names in ways.items() for word in words(names)}
    way = known[plain(value)]
    return {"strategy": way} | ({"every": 1} if way == "gradual" else {})
