"""Which layers train, and what keeping the others still takes."""

from collections.abc import Sequence

from torch import nn

from inat_ray.config.model import FreezeConfig, ModelConfig, ResnetConfig
from inat_ray.models.layers import BatchNorm, Layer


def freeze_of(model: ModelConfig) -> FreezeConfig:
    """How a model is frozen; a CNN from scratch is not."""
    return model.freeze if isinstance(model, ResnetConfig) else FreezeConfig()


def trained_layers(freeze: FreezeConfig, *, stages: Sequence[int], epoch: int) -> list[bool]:
    """Whether each layer trains in `epoch` (counted from 0); `stages` are those of the layers.

    A layer that trains in one epoch trains in all later ones.
    """
    count = len(stages)
    last = [False] * (count - 1) + [True]
    match freeze.strategy:
        case "none":
            return [True] * count
        case "head_only":
            return last
        case "freeze_fc":
            return [not head for head in last]
        case "first_k":
            assert freeze.k is not None
            frozen = freeze.k
        case "fraction":
            assert freeze.fraction is not None
            frozen = min(round(freeze.fraction * count), count - 1)
        case "gradual":
            assert freeze.every is not None
            thawed = 1 + epoch // freeze.every
            return [stage > max(stages) - thawed for stage in stages]
    return [place >= frozen for place in range(count)]


def set_trained(layers: Sequence[Layer], trained: Sequence[bool]) -> None:
    """Lets gradients reach the trained layers alone.

    Before the first of them autograd then records nothing: no activations are kept there, and
    no backward pass runs.
    """
    for layer, trains in zip(layers, trained, strict=True):
        for parameter in layer.parameters:
            parameter.requires_grad_(trains)


def training_mode(model: nn.Module, layers: Sequence[Layer], trained: Sequence[bool]) -> None:
    """Training mode, but for the batch norms of frozen layers, whose statistics stay."""
    model.train()
    for layer, trains in zip(layers, trained, strict=True):
        for module in layer.modules:
            if isinstance(module, BatchNorm):
                module.train(trains)
