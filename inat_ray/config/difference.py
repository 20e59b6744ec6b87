"""Where two experiments differ, setting by setting."""

from collections.abc import Iterator, Mapping
from typing import Any

from inat_ray.config.experiment import Experiment

OF_THE_MACHINE = ("device", "resources", "data.source", "data.cache")
"""Settings that say where and on what a run goes on; its numbers do not depend on them, since a
run checks that its images are the same."""


def differences(before: Experiment, now: Experiment) -> list[str]:
    """'recipe.lr: 0.01 before, 0.02 now' for each setting that changes what is trained."""
    old, new = (dict(_flat(e.model_dump(mode="json"))) for e in (before, now))
    return [
        f"{key}: {_shown(old, key)} before, {_shown(new, key)} now"
        for key in sorted({*old, *new})
        if _shown(old, key) != _shown(new, key) and not key.startswith(OF_THE_MACHINE)
    ]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(flat: Mapping[str, Any], key: str) -> str:
    return repr(flat[key]) if key in flat else "nothing"
