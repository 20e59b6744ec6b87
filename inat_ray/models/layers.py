"""A network as a list of layers in forward order: what freezing and learning rates go by."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

from inat_ray.models.trace import Structure, is_weighted

__all__ = ["BatchNorm", "Layer", "layers_of", "stages_of"]

NEARLY_ALL = 0.8
"""A module that holds this share of all layers is no stage but a container of stages: `features` in
torchvision, `blocks` in timm. No stage of the ResNets, RegNets or Swins comes near it."""


@dataclass(frozen=True)
class Layer:
    """A layer of a network, and the norms, scales, tokens and positions that go with it."""

    names: tuple[str, ...]
    """Of its modules; the layer itself is the first."""
    modules: tuple[nn.Module, ...]
    parameters: tuple[nn.Parameter, ...]
    """Those that can train: not what the network's author keeps still. A parameter that several
    layers use belongs to the first of them."""
    stateless: tuple[nn.Module, ...] = ()

    @property
    def name(self) -> str:
        return self.names[0]

    def owns(self, key: str) -> bool:
        """Whether an entry of the network's state dict belongs to this layer."""
        return key.rpartition(".")[0] in self.names

    def is_weight(self, parameter: nn.Parameter) -> bool:
        """Whether a parameter is a weight of the layer itself: not a bias, norm, scale or position.

        Weight decay acts on weights alone.
        """
        weighted = (module for module in self.modules if is_weighted(module))
        own = (p for module in weighted for p in module.parameters(recurse=False))
        return parameter.ndim > 1 and any(parameter is each for each in own)


def layers_of(model: nn.Module, structure: Structure) -> list[Layer]:
    """Returns the layers of a network that has been traced, or is built like one that has."""
    modules = dict(model.named_modules(remove_duplicate=False))
    taken: set[nn.Parameter] = set()
    layers: list[Layer] = []
    for names, stateless in zip(structure.layers, structure.stateless, strict=True):
        members = tuple(modules[name] for name in names)
        own = dict.fromkeys(p for module in members for p in module.parameters(recurse=False))
        parameters = tuple(p for p in own if p not in taken and p.requires_grad)
        taken.update(own)
        layers.append(Layer(names, members, parameters, tuple(modules[n] for n in stateless)))
    # A parameter or an entry of the state dict without a layer would neither train nor be saved.
    lost = [name for name, parameter in model.named_parameters() if parameter not in taken]
    lost += [key for key in model.state_dict() if not any(layer.owns(key) for layer in layers)]
    assert not lost, f"no layer owns {', '.join(lost)}"
    return layers


def stages_of(names: Sequence[str]) -> list[int]:
    """Returns the stage of each layer, given the layers' names.

    Layers in the same part of the network are a stage: of a ResNet, 0 is the stem, then follow the
    four groups of blocks and the head.
    """
    within = ""
    while True:
        parts = [_part(name, within) for name in names]
        fullest = max(parts, key=parts.count)
        if parts.count(fullest) < NEARLY_ALL * len(names) or fullest in names:
            break
        within = f"{fullest}."
    # The output layer is a stage by itself, even where it shares a part with other dense layers.
    starts = [before != after for before, after in pairwise(parts)]
    starts[-1:] = [True] * bool(starts)
    return list(accumulate(map(int, starts), initial=0))


def _part(name: str, within: str) -> str:
    """The child of the module `within` in which a layer is; outside of it, the root's child."""
    start = within if name.startswith(within) else ""
    return start + name.removeprefix(start).partition(".")[0]
