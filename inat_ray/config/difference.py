"""The settings in which experiments differ."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.overrides import PARAMETERS

OF_THE_MACHINE = ("device", "resources", "tracking", "data.source", "data.cache")
"""Settings of where a run computes and who is told of it. They may change when it is resumed: its
numbers do not depend on them, since a run checks that its images are the same."""


def differences(before: Experiment, now: Experiment) -> list[str]:
    """Returns 'recipe.lr: 0.01 before, 0.02 now' for each setting that changes what is trained."""
    old, new = (dict(flat(each.model_dump(mode="json"))) for each in (before, now))
    return [
        f"{key}: {_shown(old, key)} before, {_shown(new, key)} now"
        for key in sorted({*old, *new})
        if _shown(old, key) != _shown(new, key) and not key.startswith(OF_THE_MACHINE)
    ]


def check_used(changes: Sequence[str], *, used: tuple[str, ...], by: str) -> None:
    """Raises UserError for a change of `differences` to a setting that a command does not use."""
    for change in changes:
        if not change.startswith(used):
            raise UserError(f"--set {change}: has no part in {by}")


def differing(experiments: Sequence[Experiment]) -> dict[str, list[Any]]:
    """Returns each dotted setting that is not the same in all, with its value in each experiment.

    A parameter of a search is one setting; None where an experiment has no such setting. What is
    about the machine is left out, but not the source of the images: others make another study.
    """
    trees = [experiment.model_dump(mode="json") for experiment in experiments]
    settings = [{k: v for k, v in flat(tree, whole=PARAMETERS) if v != {}} for tree in trees]
    machine = tuple(key for key in OF_THE_MACHINE if key != "data.source")
    return {
        key: [each.get(key) for each in settings]
        for key in sorted({key for each in settings for key in each})
        if len({_shown(each, key) for each in settings}) > 1 and not key.startswith(machine)
    }


def flat(
    tree: Mapping[str, Any], prefix: str = "", *, whole: str | None = None
) -> Iterator[tuple[str, Any]]:
    """Yields (dotted key, value) of each setting; those below `whole` are not taken apart."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value and prefix != whole:
            yield from flat(value, f"{prefix}{key}.", whole=whole)
        else:
            yield f"{prefix}{key}", value


def _shown(settings: Mapping[str, Any], key: str) -> str:
    return repr(settings[key]) if key in settings else "nothing"
