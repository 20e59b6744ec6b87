"""The files of a training: states to resume from, and models to keep. Nothing is pickled."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any

import safetensors.torch
import torch
from pydantic import Field, Json, NonNegativeInt, ValidationInfo, field_validator
from torch import Tensor, nn

from inat_ray.config.errors import UserError, readable
from inat_ray.config.experiment import Experiment
from inat_ray.data.augment import Normalize
from inat_ray.data.dataset import Channels, DataSet
from inat_ray.data.names import listed
from inat_ray.data.split import SubsetName
from inat_ray.models.build import build_model, hollow_model
from inat_ray.models.ensemble import as_one
from inat_ray.models.weights import Normalization, load_without_code, read_safetensors
from inat_ray.storage.place import Place
from inat_ray.training.device import tune_process
from inat_ray.training.evaluation import UNCHANGED, Evaluation, PixelViews, evaluate
from inat_ray.training.fit import Fit


def save_checkpoint(place: Place, state: dict[str, Any]) -> None:
    """Writes a training's state, whole or not at all."""

    def fill(file: IO[bytes]) -> None:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # that the file is not as it should be: it hides why
            raise error.__context__ or error from None

    place.write_by(fill)


def load_checkpoint(place: Place, device: torch.device) -> dict[str, Any]:
    """Reads what `save_checkpoint` wrote. Raises UserError if the file is damaged."""
    with checkpoint_readable(place):
        state: dict[str, Any] = load_without_code(io.BytesIO(place.read()), device)
    return state


def checkpoint_readable(place: Place) -> AbstractContextManager[None]:
    """Turns an error that a damaged checkpoint causes into a UserError with its remedy."""
    return readable(f"{place}", remedy="the training cannot go on from there; begin it anew")


def model_writer(
    fit: Fit, *, training: str = "train", temperature: float = 1.0
) -> Callable[[Place], None]:
    """Returns what writes the evaluated model and all that its use needs as one safetensors file.

    It is the model as it is now, however `fit` goes on.

    `training`: the name of the model's training in the run's log. `temperature`: see `calibration`.
    """
    return network_writer(
        fit.evaluated_model,
        experiment=fit.experiment,
        classes=fit.data.classes,
        mean=fit.mean,
        std=fit.std,
        epoch=fit.epochs_done,
        temperatures=[temperature],
        training=training,
    )


def network_writer(
    network: nn.Module,
    *,
    experiment: Experiment,
    classes: list[str],
    mean: Channels,
    std: Channels,
    epoch: int,
    temperatures: Sequence[float],
    **more: str,
) -> Callable[[Place], None]:
    """Returns what writes a network as it is now, with the metadata that `load_model` reads."""
    about = {
        "experiment": experiment.model_dump_json(),
        "classes": json.dumps(classes),
        "mean": json.dumps(mean),
        "std": json.dumps(std),
        "epoch": str(epoch),
        "temperatures": json.dumps(list(temperatures)),
        **more,
    }
    weights = {
        # A copy of each: the format has no tensors that share their numbers, as tied layers do.
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }

    def write(place: Place) -> None:
        place.write(safetensors.torch.save(weights, metadata=about))

    return write


@dataclass(frozen=True)
class LoadedModel:
    """A saved model with its experiment and its classes."""

    path: Path
    experiment: Experiment
    classes: list[str]
    mean: Channels
    std: Channels
    epoch: int
    """The training's epoch, counted from 1, after which it was saved."""
    members: tuple[Experiment, ...]
    """The experiments of the networks whose mean it is; mostly one, its own."""
    model: nn.Module
    temperatures: tuple[float, ...] = UNCHANGED
    """Of each of these networks, which its probabilities are calibrated by."""

    def evaluate(self, data: DataSet, subset: SubsetName, *, device: torch.device) -> Evaluation:
        """Evaluates the model on a subset. Raises UserError as `check_classes` does."""
        self.check_classes(data)
        normalize = Normalize(self.mean, self.std, device)
        return evaluate(
            self.model_on(device),
            PixelViews.of(self.experiment, data, subset, normalize=normalize, device=device),
            classes=len(self.classes),
            recipe=self.experiment.recipe,
            temperatures=self.temperatures,
        )

    def model_on(self, device: torch.device) -> nn.Module:
        """Moves the network to a device, in the memory format that it was trained in."""
        tune_process(device)
        model = self.model.to(device)
        if self.experiment.recipe.channels_last:
            model = model.to(memory_format=torch.channels_last)
        return model

    def check_classes(self, data: DataSet) -> None:
        """Raises UserError if the data has other classes than the model."""
        ours, theirs = self.classes, data.pack.classes
        if theirs == ours:
            return
        parts = {"lacks": set(ours) - set(theirs), "has": set(theirs) - set(ours)}
        said = [f"{verb} {listed(sorted(names))}" for verb, names in parts.items() if names]
        raise UserError(
            f"data: {self.path} was trained on other classes; the data"
            f" {' and '.join(said) or 'has them in another order'}"
        )


def load_model(path: Path) -> LoadedModel:
    """Loads what `model_writer` made. Raises UserError if the file is damaged, or no model."""
    with readable(path, remedy="a best.safetensors that train or sweep left is needed"):
        weights, metadata = read_safetensors(path)
        about = _About.model_validate(metadata)
        members, count = about.members or (about.experiment,), len(about.classes)
        # Shapes are compared first, on the meta device: nothing of a wrong size takes memory.
        model = as_one(hollow_model(each, classes=count) for each in members)
        _check_numbers(weights, model.state_dict())
        # Copies: the file's own are mapped, and somebody may write over it.
        state = {name: tensor.clone() for name, tensor in weights.items()}
        model.load_state_dict(state, assign=True)
        if any(buffer.is_meta for buffer in model.buffers()):  # of indices and masks, never saved
            model = as_one(build_model(each, classes=count, weights=None) for each in members)
            model.load_state_dict(state, assign=True)
    known = dict(about) | {"members": members, "temperatures": about.of_networks}
    return LoadedModel(path=path, model=model, **known)


def temperatures_in(path: Path) -> tuple[float, ...]:
    """Reads the temperatures of a saved model's networks. Raises UserError as `load_model`."""
    with readable(path, remedy="a best.safetensors that train or sweep left is needed"):
        return _About.model_validate(read_safetensors(path)[1]).of_networks


Temperatures = tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...]


class _About(Normalization):
    """The metadata of a model's file."""

    experiment: Json[Experiment]
    classes: Json[Annotated[list[str], Field(min_length=1)]]
    epoch: NonNegativeInt
    members: Json[tuple[Experiment, ...]] = ()
    """Of an ensemble; none if it is one network."""
    temperatures: Json[Temperatures] = ()
    """Earlier models have none: their probabilities are as the networks give them."""

    @field_validator("temperatures")
    @classmethod
    def _one_for_each_network(cls, found: Temperatures, info: ValidationInfo) -> Temperatures:
        networks = max(1, len(info.data.get("members", ())))
        if len(found) not in (0, networks):
            raise ValueError(f"{len(found)} temperatures for {networks} networks")
        return found

    @property
    def of_networks(self) -> tuple[float, ...]:
        return self.temperatures or UNCHANGED * max(1, len(self.members))


def _check_numbers(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    for name, tensor in weights.items():
        if name in wanted and tensor.dtype != wanted[name].dtype:
            raise ValueError(f"{name} is {tensor.dtype} instead of {wanted[name].dtype}")
        if not tensor.isfinite().all():
            raise ValueError(f"{name} holds numbers that are NaN or infinite")
