"""A network as a list of layers in forward order: what freezing and learning rates go by."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

__all__ = ["BatchNorm", "Layer", "layers_of", "stages_of"]


@dataclass(frozen=True)
class Layer:
    """A convolution or dense layer, and the batch norm that follows it, if one does."""

    names: tuple[str, ...]
    """Of its modules, as in the state dict: `layer1.0.conv1`, `layer1.0.bn1`."""
    modules: tuple[nn.Module, ...]

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [parameter for module in self.modules for parameter in module.parameters()]

    def owns(self, key: str) -> bool:
        """Whether an entry of the network's state dict belongs to this layer."""
        return key.rpartition(".")[0] in self.names


def layers_of(model: nn.Module) -> list[Layer]:
    """Every convolution and dense layer in forward order; the last is the output layer.

    Modules stand in the order in which they are made. Here and in torchvision's ResNets that is
    the order in which they run; a block's shortcut runs after its other convolutions.
    """
    layers: list[Layer] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            layers.append(Layer((name,), (module,)))
        elif isinstance(module, BatchNorm):
            before = layers[-1]
            layers[-1] = Layer((*before.names, name), (*before.modules, module))
    _check_owners(model, layers)
    return layers


def _check_owners(model: nn.Module, layers: Sequence[Layer]) -> None:
    """Every parameter belongs to exactly one layer, and so does every entry of the state dict.

    One without a layer would neither train nor be saved; one with two would be stepped twice.
    """
    orphans = [key for key in model.state_dict() if not any(layer.owns(key) for layer in layers)]
    assert not orphans, f"no layer owns {', '.join(orphans)}: they would not be trained or saved"
    owned = Counter(parameter for layer in layers for parameter in layer.parameters)
    shared = [name for name, parameter in model.named_parameters() if owned[parameter] != 1]
    assert not shared, f"several layers own {', '.join(shared)}"


def stages_of(layers: Sequence[Layer]) -> list[int]:
    """The stage of each layer: of a ResNet 0 is the stem, then the four groups of blocks, the head.

    Layers below the same child of the network are a stage.
    """
    children = list(dict.fromkeys(layer.name.partition(".")[0] for layer in layers))
    return [children.index(layer.name.partition(".")[0]) for layer in layers]
