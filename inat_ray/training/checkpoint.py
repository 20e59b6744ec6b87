"""What training writes to disk: states to go on from, and models to keep. Nothing is pickled."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import nn

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.data.augment import Normalize
from inat_ray.data.batches import subset_images
from inat_ray.data.dataset import Channels, DataSet
from inat_ray.data.split import SubsetName
from inat_ray.models.build import build_model
from inat_ray.storage.place import Place
from inat_ray.training.device import tune_process
from inat_ray.training.evaluation import Evaluation, PixelViews, evaluate
from inat_ray.training.fit import Fit


def save_checkpoint(place: Place, state: dict[str, Any]) -> None:
    """Writes a `Fit.state_dict()` whole or not at all."""
    content = io.BytesIO()
    torch.save(state, content)
    place.write(content.getbuffer())


def load_checkpoint(place: Place, device: torch.device) -> dict[str, Any]:
    """A state for `Fit.load_state_dict()`. Raises UserError where the file is none."""
    content = io.BytesIO(place.read())
    try:
        state: dict[str, Any] = torch.load(content, map_location=device, weights_only=True)
    except Exception as error:  # whatever a reader of old formats meets in bytes that are none
        raise UserError(f"{place}: is no checkpoint that can be read: {error}") from None
    return state


def save_model(place: Place, fit: Fit, *, training: str = "train") -> None:
    """The evaluated model and all that its use needs, in one safetensors file.

    `training`: what the run's log calls the training that the model is from.
    """
    about = {
        "experiment": fit.experiment.model_dump_json(),
        "classes": json.dumps(fit.data.classes),
        "mean": json.dumps(fit.mean),
        "std": json.dumps(fit.std),
        "epoch": str(fit.epochs_done),
        "training": training,
    }
    weights = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in fit.evaluated_model.state_dict().items()
    }
    place.write(safetensors.torch.save(weights, metadata=about))


@dataclass(frozen=True)
class LoadedModel:
    """A saved model, on the CPU, with what it was trained on and how."""

    path: Path
    experiment: Experiment
    classes: list[str]
    mean: Channels
    std: Channels
    epoch: int
    """The training's epoch, counted from 1, after which it was saved."""
    model: nn.Module

    def evaluate(self, data: DataSet, subset: SubsetName, *, device: torch.device) -> Evaluation:
        """The model on a subset, whose classes must be its own: see `check_classes`."""
        self.check_classes(data)
        recipe = self.experiment.recipe
        views = PixelViews(
            images=subset_images(data, subset, device),
            normalize=Normalize(self.mean, self.std, device),
            size=self.experiment.data.image_size,
            mirrored=recipe.flip_average,
        )
        model = self.model_on(device)
        return evaluate(model, views, classes=len(self.classes), recipe=recipe)

    def model_on(self, device: torch.device) -> nn.Module:
        """The network on a device, as fast and in the memory format as it was trained."""
        tune_process(device)
        model = self.model.to(device)
        if self.experiment.recipe.channels_last:
            model = model.to(memory_format=torch.channels_last)
        return model

    def check_classes(self, data: DataSet) -> None:
        """Raises UserError where the data has other classes than the model."""
        if data.pack.classes != self.classes:
            raise UserError(
                f"data: has the classes {', '.join(data.pack.classes)};"
                f" {self.path} was trained on {', '.join(self.classes)}"
            )


def load_model(path: Path) -> LoadedModel:
    """A model that `save_model` wrote. Raises UserError where the file is none."""
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        experiment = Experiment.model_validate_json(about["experiment"])
        classes = json.loads(about["classes"])
        model = build_model(experiment, classes=len(classes), weights=None)
        model.load_state_dict(weights)
    except (OSError, SafetensorError, KeyError, ValidationError, RuntimeError) as error:
        raise UserError(f"{path}: is no model of inat_ray that can be read: {error}") from None
    return LoadedModel(
        path=path,
        experiment=experiment,
        classes=classes,
        mean=tuple(json.loads(about["mean"])),
        std=tuple(json.loads(about["std"])),
        epoch=int(about["epoch"]),
        model=model,
    )
