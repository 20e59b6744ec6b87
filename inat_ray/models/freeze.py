"""Which layers train, and what keeping the others still takes."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from inat_ray.config.errors import UserError
from inat_ray.config.model import FreezableConfig, FreezeConfig, ModelConfig
from inat_ray.models.head import head_name
from inat_ray.models.layers import BatchNorm, Layer, stages_of
from inat_ray.models.trace import Structure

OF_THE_HEAD = ("head_only", "freeze_fc", "gradual")
"""The strategies that need to know which layers are the head."""


@dataclass(frozen=True)
class Freezing:
    """How a network's layers are frozen, epoch by epoch."""

    freeze: FreezeConfig
    stages: Sequence[int]
    """Of each layer."""
    head: int = 1
    """How many layers, the last ones, are the head; 0 if that is not known."""

    def trained(self, epoch: int) -> list[bool]:
        """Whether each layer trains in `epoch` (counted from 0).

        A layer that trains in one epoch trains in all later ones.
        """
        freeze, count = self.freeze, len(self.stages)
        first = count - self.head
        match freeze.strategy:
            case "freeze_fc":
                return [place < first for place in range(count)]
            case "none":
                first = 0
            case "first_k":
                assert freeze.k is not None
                first = freeze.k
            case "fraction":
                assert freeze.fraction is not None
                first = min(round(freeze.fraction * count), count - 1)
            case "gradual":
                assert freeze.every is not None
                lowest = max(self.stages) - epoch // freeze.every
                first = min(first, sum(stage < lowest for stage in self.stages))
            case "head_only":
                pass
        return [place >= first for place in range(count)]


def freezing_of(model: nn.Module, config: ModelConfig, structure: Structure) -> Freezing:
    """Returns how a network is frozen; a CNN from scratch is not.

    Raises UserError if it cannot be frozen as its settings say.
    """
    freeze = config.freeze if isinstance(config, FreezableConfig) else FreezeConfig()
    names = [layer[0] for layer in structure.layers]
    head = _head_layers(names, head_name(model, config))
    where = f"model.freeze.strategy: {freeze.strategy}"
    if freeze.strategy in OF_THE_HEAD and not head:
        raise UserError(
            f"{where}: speaks of the head, and the network has none that runs last; give it an"
            " attribute `head` or a method `get_classifier()`, or use none, first_k or fraction"
        )
    if freeze.k is not None and freeze.k >= len(names):
        raise UserError(
            f"model.freeze.k: {freeze.k}: the network has {len(names)} layers,"
            f" so {len(names) - 1} can be frozen at most"
        )
    return Freezing(freeze, stages_of(names), head)


def _head_layers(names: Sequence[str], head: str | None) -> int:
    """How many of the layers are the head's; 0 if there is no head, or it does not run last."""
    if head is None:
        return 0
    inside = [name == head or name.startswith(f"{head}.") for name in names]
    count = sum(inside)
    return count if all(inside[len(names) - count :]) else 0


def set_trained(layers: Sequence[Layer], trained: Sequence[bool]) -> None:
    """Lets gradients reach the trained layers alone.

    Before the first of them autograd then records nothing: no activations are kept there, and
    no backward pass runs.
    """
    for layer, trains in zip(layers, trained, strict=True):
        for parameter in layer.parameters:
            parameter.requires_grad_(trains)


def training_mode(model: nn.Module, layers: Sequence[Layer], trained: Sequence[bool]) -> None:
    """Puts a network into training mode, except for what is frozen.

    Batch norms of frozen layers keep their statistics. Before the first layer that trains, dropout
    and stochastic depth are off: there they would be noise, and cached features have none.
    """
    model.train()
    first = list(trained).index(True)
    for place, (layer, trains) in enumerate(zip(layers, trained, strict=True)):
        for module in layer.modules:
            if isinstance(module, BatchNorm):
                module.train(trains)
        for module in layer.stateless:
            module.train(place >= first)
