"""The base of every section of an experiment, and what a setting may hold."""

import os
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

LONGEST_NAME, LONGEST_PATH = 255, 4095
"""Bytes, as file systems have it."""


def _usable_path(text: str) -> str:
    """Returns the path as it is. Raises ValueError where asking the system for it would fail.

    So the error names a setting, instead of coming as an OSError from deep inside a command.
    """
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


PathText = Annotated[str, AfterValidator(_usable_path)]
"""A path, or an address or a name where a path may stand."""

Fraction = Annotated[float, Field(gt=0, lt=1)]

SettingKind = Literal["whole", "fractional", "other"]
"""Whether a setting holds whole numbers, any numbers, or something else."""


class Section(BaseModel):
    """A part of an experiment: unknown keys are errors, and values do not change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        allow_inf_nan=False,
        use_attribute_docstrings=True,  # they are the descriptions in the schema
    )

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, values: Any) -> Any:
        # Pydantic would read `true` as 1. Its strict mode would refuse '16' and 16.0, too.
        for name, value in values.items() if isinstance(values, dict) else ():
            setting = cls.model_fields.get(name)
            if isinstance(value, bool) and setting is not None:
                types = _types_of(setting.annotation)
                if types & {int, float} and bool not in types:
                    raise ValueError(f"{name} is a number, and {str(value).lower()} is none")
        return values


def _types_of(annotation: Any) -> set[Any]:
    """Returns the types in an annotation such as `int | None` or `Annotated[float, ...]`."""
    if get_origin(annotation) is Annotated:
        return _types_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return set().union(*map(_types_of, get_args(annotation)))
    return {annotation}


def kind_of(experiment: Section, name: str) -> SettingKind | None:
    """Returns the kind of the setting with this dotted name; None if there is no such setting."""
    *path, leaf = name.split(".")
    part: Any = experiment
    for key in path:
        part = getattr(part, key, None)
    setting = type(part).model_fields.get(leaf) if isinstance(part, Section) else None
    return None if setting is None else kind_of_field(setting)


def kind_of_field(setting: FieldInfo) -> SettingKind:
    """Returns the kind of a setting."""
    types = _types_of(setting.annotation)
    return "fractional" if float in types else "whole" if int in types else "other"
