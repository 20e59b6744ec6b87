"""Where two experiments differ, setting by setting."""

from collections.abc import Iterator, Mapping
from typing import Any

from inat_ray.config.experiment import Experiment

OF_THE_MACHINE = ("device", "resources", "data.source", "data.cache")
"""Settings that say where and on what a run goes on; its numbers do not depend on them, since a
run checks that its images are the same."""


def differences(before: Experiment, now: Experiment) -> list[str]:
    """'recipe.lr: 0.01 before, 0.02 now' for each setting that changes what is trained."""
    return [f"{key}: {old} before, {new} now" for key, old, new in changes(before, now)]


def changes(one: Experiment, other: Experiment) -> list[tuple[str, str, str]]:
    """(setting, its value in one, in the other) where they differ in what is trained."""
    ours, theirs = (dict(_flat(e.model_dump(mode="json"))) for e in (one, other))
    return [
        (key, _shown(ours, key), _shown(theirs, key))
        for key in sorted({*ours, *theirs})
        if _shown(ours, key) != _shown(theirs, key) and not key.startswith(OF_THE_MACHINE)
    ]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(flat: Mapping[str, Any], key: str) -> str:
    return repr(flat[key]) if key in flat else "nothing"
