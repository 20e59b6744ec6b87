"""What a setting holds, as its type in the schema says."""

from typing import Any

from inat_ray.config.distributions import SettingKind
from inat_ray.config.experiment import Experiment
from inat_ray.config.settings import Settings, held_types


def kind_of(experiment: Experiment, name: str) -> SettingKind | None:
    """What the setting holds; None where there is none of that name."""
    *path, leaf = name.split(".")
    part: Any = experiment
    for key in path:
        part = getattr(part, key, None)
    setting = type(part).model_fields.get(leaf) if isinstance(part, Settings) else None
    if setting is None:
        return None
    held = held_types(setting.annotation)
    return "fractional" if float in held else "whole" if int in held else "other"
