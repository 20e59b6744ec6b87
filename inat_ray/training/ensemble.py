"""Joins saved models into one file, whose model is the mean of their probabilities."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inat_ray.config.errors import UserError
from inat_ray.models.ensemble import as_one, members_of
from inat_ray.storage.place import Place
from inat_ray.training.checkpoint import LoadedModel, network_writer

CHANGE_NO_IMAGE = {"source", "cache", "inaturalist_url", "max_bad_fraction"}
"""Settings of `data` that decide where images are, not which or how they are shown."""


def join(models: Sequence[LoadedModel], path: Path) -> None:
    """Writes the mean of the models' probabilities as one model.

    Raises UserError if there are fewer than two, or they do not see the same images: validation
    images of one that another was trained on would flatter them all.
    """
    if len(models) < 2:
        raise UserError(f"{models[0].path}: is one model; an ensemble takes two or more")
    first = models[0]
    for other in models[1:]:
        _check_alike(first, other)
    members = [experiment.model_dump_json() for model in models for experiment in model.members]
    networks = [network for model in models for network in members_of(model.model)]
    write = network_writer(
        as_one(networks),
        experiment=first.experiment,
        classes=first.classes,
        mean=first.mean,
        std=first.std,
        epoch=max(model.epoch for model in models),
        temperatures=[each for model in models for each in model.temperatures],
        members=f"[{','.join(members)}]",
    )
    write(Place.at(path))


def _check_alike(first: LoadedModel, other: LoadedModel) -> None:
    ours, theirs = _sees(first), _sees(other)
    for name, value in theirs.items():
        if value != ours[name]:
            raise UserError(
                f"{other.path}: {name} is {value}, and of {first.path} {ours[name]}; an ensemble"
                " takes models of the same classes, the same split and the same view of an image"
            )


def _sees(model: LoadedModel) -> dict[str, Any]:
    """Returns what decides which images a model was trained on, and how it is shown one."""
    data, recipe = model.experiment.data, model.experiment.recipe
    return {
        "classes": model.classes,
        **{f"data.{key}": value for key, value in data.model_dump(exclude=CHANGE_NO_IMAGE).items()},
        "data.image_size": model.experiment.image_size,
        "data.pack_size": data.pack_side,
        "normalization": (model.mean, model.std),
        **{
            f"recipe.{key}": getattr(recipe, key)
            for key in ("flip_average", "precision", "channels_last")
        },
    }
