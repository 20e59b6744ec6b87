"""How large a model is: parameters, multiply-accumulate operations, and how much of them trains."""

from dataclasses import dataclass

from torch import nn

from inat_ray.config.experiment import Experiment
from inat_ray.models.build import hollow_model, structure_of
from inat_ray.models.freeze import freezing_of
from inat_ray.models.layers import layers_of
from inat_ray.models.trace import Structure


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
    """Returns that of the experiment's model in its last epoch, when the most layers train.

    On the meta device: no memory is taken, and nothing is computed.
    """
    model = hollow_model(experiment, classes=classes)
    structure = structure_of(model, experiment, classes=classes, count_macs=True)
    return complexity_of(model, structure, experiment)


def complexity_of(model: nn.Module, structure: Structure, experiment: Experiment) -> Complexity:
    """Returns that of a model whose multiply-accumulates have been counted."""
    layers = layers_of(model, structure)
    freezing = freezing_of(model, experiment.model, structure)
    trained = freezing.trained(experiment.recipe.epochs - 1)
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
        macs=sum(structure.macs),
        backward_macs=sum(structure.macs[trained.index(True) :]),
    )
