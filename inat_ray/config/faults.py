"""Faults that pydantic finds in an experiment, told in sentences that a person can act on."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from inat_ray.config.experiment import Experiment
from inat_ray.config.model import MODEL_KINDS

Loc = tuple[int | str, ...]
"""A place as pydantic gives it: keys, and positions in lists."""

MOST_FAULTS = 10
"""The most that are told at once."""

MOST_SHOWN = 200
"""The most characters of a value or a name in a message."""


def explain(error: ValidationError, origins: Mapping[str, str] | None = None) -> str:
    """Returns a line for each fault, with where its key was set if that is known."""
    lines = []
    for fault in error.errors()[:MOST_FAULTS]:
        place = "" if origins is None else f"{_origin(key_of(fault), origins)}: "
        lines.append(f"{place}{explain_fault(fault)}")
    if (more := error.error_count() - MOST_FAULTS) > 0:
        lines.append(f"and {more:,} more")
    return "\n".join(lines)


def explain_fault(fault: ErrorDetails) -> str:
    """Returns a sentence: the key, its value, and what is allowed there."""
    key, value, kind = key_of(fault), fault["input"], fault["type"]
    if kind == "extra_forbidden":
        allowed = _allowed_keys(fault["loc"][:-1])
        close = get_close_matches(str(fault["loc"][-1]), allowed, n=1)
        hint = f" (did you mean '{close[0]}'?)" if close else ""
        return f"{key}: there is no such setting{hint}; allowed here: {', '.join(allowed)}"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    no_mapping = ("model_type", "model_attributes_type", "dict_type")
    if kind in no_mapping or (kind == "unknown_kind" and not isinstance(value, dict)):
        message = "should be a mapping of settings"
    if value is None:
        return f"{key}: is empty; {message}, or leave it out"
    if isinstance(value, dict) and kind.endswith("_type"):
        return f"{key}: a mapping: {message}; a range to search stands below search.parameters"
    # What is about several parts of an experiment has no key.
    place = f"{key}: " if key else ""
    return f"{place}{message}" if isinstance(value, dict) else f"{place}{shown(value)}: {message}"


def key_of(fault: ErrorDetails) -> str:
    """Returns the dotted key that a fault is about; positions in lists are in brackets."""
    loc = fault["loc"]
    if len(loc) > 1 and loc[0] == "model" and loc[1] in MODEL_KINDS:
        loc = (loc[0], *loc[2:])  # pydantic adds the kind of model that it chose
    parts = [f"[{part}]" if isinstance(part, int) else f".{printable(part)}" for part in loc]
    return "".join(parts).removeprefix(".")


def shown(value: Any) -> str:
    """Returns a value as a message shows it: a long one is cut."""
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def printable(name: str) -> str:
    """Returns a name as a message shows it: without what a terminal would obey, and cut."""
    return name if name.isprintable() and len(name) <= MOST_SHOWN else shown(name)


def _origin(key: str, origins: Mapping[str, str]) -> str:
    """Returns where the key was set, or else the nearest mapping above it."""
    while key:
        if key in origins:
            return origins[key]
        key = re.sub(r"(^|\.|\[)[^.\[]*$", "", key)
    return "experiment"


def _allowed_keys(loc: Loc) -> list[str]:
    part: type[BaseModel] = Experiment
    for name in map(str, loc):
        # After `model` stands the kind that pydantic chose among the families.
        below = MODEL_KINDS.get(name) or part.model_fields[name].annotation
        part = below if isinstance(below, type) else part
    return list(part.model_fields)
