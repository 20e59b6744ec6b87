"""How large a model is: parameters, multiply-accumulate operations, and how much of them trains."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from inat_ray.config.experiment import Experiment
from inat_ray.models.build import hollow_model
from inat_ray.models.freeze import freeze_of, trained_layers
from inat_ray.models.layers import Layer, layers_of, stages_of


@dataclass(frozen=True)
class Complexity:
    """Multiply-accumulate operations are those of one image; biases and norms do not count."""

    layers: int
    trained_layers: int
    parameters: int
    trainable_parameters: int
    macs: int
    """Of a forward pass."""
    backward_macs: int
    """Of the layers that a gradient passes: from the first that trains to the output."""


def complexity(experiment: Experiment, *, classes: int) -> Complexity:
    """Of the experiment's model in its last epoch, when a gradual freeze has thawed the most.

    On the meta device: no memory is taken, and nothing is computed.
    """
    model = hollow_model(experiment, classes=classes)
    layers = layers_of(model)
    trained = trained_layers(
        freeze_of(experiment.model),
        stages=stages_of(layers),
        epoch=experiment.recipe.epochs - 1,
    )
    macs = macs_of(model, layers, image_size=experiment.data.image_size)
    return Complexity(
        layers=len(layers),
        trained_layers=sum(trained),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        trainable_parameters=sum(
            parameter.numel()
            for layer, trains in zip(layers, trained, strict=True)
            if trains
            for parameter in layer.parameters
        ),
        macs=sum(macs),
        backward_macs=sum(macs[trained.index(True) :]),
    )


def macs_of(model: nn.Module, layers: Sequence[Layer], *, image_size: int) -> list[int]:
    """Of each layer of a network on the meta device, by torch's own counter."""
    model.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, 3, image_size, image_size, device="meta"))
    flops = counter.get_flop_counts()
    top = type(model).__name__
    # A multiply-accumulate is two floating-point operations.
    return [sum(flops[f"{top}.{layer.name}"].values()) // 2 for layer in layers]
