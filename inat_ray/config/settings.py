"""What every part of an experiment has in common."""

import os
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

LONGEST_NAME, LONGEST_PATH = 255, 4095
"""Bytes, as file systems have it."""


def _usable_path(text: str) -> str:
    """A place that can be asked for. Raises ValueError where the system would fail on its name."""
    if "\0" in text:
        raise ValueError("a zero byte is not allowed in a path")
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise ValueError("there is no such home folder") from None
    names = [len(os.fsencode(name)) for name in path.parts]
    if max(names, default=0) > LONGEST_NAME or sum(names) + len(names) > LONGEST_PATH:
        raise ValueError(f"is too long for a path; {LONGEST_NAME} bytes a name are allowed")
    return text


SettingKind = Literal["whole", "fractional", "other"]
"""What a setting holds: a whole number, any number, or none."""

PathText = Annotated[str, AfterValidator(_usable_path)]
"""A path, an address or a name in its place."""


class Settings(BaseModel):
    """Base of every part of an experiment: unknown keys are errors, values do not change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        allow_inf_nan=False,
        use_attribute_docstrings=True,  # they are the descriptions in the schema
    )

    @model_validator(mode="before")
    @classmethod
    def _truth_is_no_number(cls, values: Any) -> Any:
        """`true` would count as 1, without a word."""
        for name, value in values.items() if isinstance(values, dict) else ():
            setting = cls.model_fields.get(name)
            if isinstance(value, bool) and setting is not None:
                held = held_types(setting.annotation)
                if held & {int, float} and bool not in held:
                    raise ValueError(f"{name} is a number, and {str(value).lower()} is none")
        return values


def held_types(annotation: Any) -> set[Any]:
    """int | None, or Annotated[float, ...], as the types themselves."""
    if get_origin(annotation) is Annotated:
        return held_types(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return set().union(*map(held_types, get_args(annotation)))
    return {annotation}


def kind_of(experiment: "Settings", name: str) -> SettingKind | None:
    """Returns what a setting holds, by its type; None if there is none of that dotted name."""
    *path, leaf = name.split(".")
    part: Any = experiment
    for key in path:
        part = getattr(part, key, None)
    setting = type(part).model_fields.get(leaf) if isinstance(part, Settings) else None
    if setting is None:
        return None
    held = held_types(setting.annotation)
    return "fractional" if float in held else "whole" if int in held else "other"
