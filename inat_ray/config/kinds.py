"""What a setting holds, as its type in the schema says."""

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from inat_ray.config.distributions import SettingKind
from inat_ray.config.experiment import Experiment
from inat_ray.config.settings import Settings


def kind_of(experiment: Experiment, name: str) -> SettingKind | None:
    """What the setting holds; None where there is none of that name."""
    *path, leaf = name.split(".")
    part: Any = experiment
    for key in path:
        part = getattr(part, key, None)
    setting = type(part).model_fields.get(leaf) if isinstance(part, Settings) else None
    if setting is None:
        return None
    held = _types(setting.annotation)
    return "fractional" if float in held else "whole" if int in held else "other"


def _types(annotation: Any) -> set[Any]:
    """int | None, or Annotated[float, ...], as the types themselves."""
    if get_origin(annotation) is Annotated:
        return _types(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return set().union(*map(_types, get_args(annotation)))
    return {annotation}
