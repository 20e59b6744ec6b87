"""What a network looks at: its first filters, its feature maps, and gradients back to the image.

Nothing here changes the network: hooks and replaced activations are gone when a function returns or
raises, training modes are as before, and no parameter gets a gradient.
"""

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inat_ray.models.cnn import ACTIVATIONS, Residual

ACTIVATION_TYPES = tuple(ACTIVATIONS.values())


@dataclass(frozen=True)
class Neuron:
    """A place in a layer's output."""

    channel: int
    row: int
    column: int


def first_layer_filters(model: nn.Module) -> Tensor:
    """(m, 3, k, k): the kernels of the first convolution."""
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    return first.weight.detach().cpu()


def stages(model: nn.Module) -> dict[str, nn.Module]:
    """Name -> the module whose output is that stage's maps, in forward order.

    Of a CNN the activation of each block, of a ResNet the stem's and the four groups of blocks.
    """
    if isinstance(model, nn.Sequential):
        blocks = [
            child for child in model if any(isinstance(m, nn.Conv2d) for m in child.modules())
        ]
        return {f"block {i}": _activation(block) for i, block in enumerate(blocks, start=1)}
    groups = {f"stage {i}": model.get_submodule(f"layer{i}") for i in range(1, 5)}
    return {"stem": model.get_submodule("relu"), **groups}


def feature_maps(model: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """Stage -> maps (m, h, w) that the network makes of an image (1, 3, s, s), normalised."""
    with _examined(model), torch.no_grad(), _outputs(stages(model)) as outputs:
        model(image)
    return {name: output[0] for name, output in outputs.items()}


def probabilities(model: nn.Module, image: Tensor) -> Tensor:
    """(classes,): what the network says of an image (1, 3, s, s), normalised."""
    with _examined(model), torch.no_grad():
        logits: Tensor = model(image)
    return logits.softmax(dim=1)[0]


def busiest_neurons(maps: Tensor, count: int) -> list[Neuron]:
    """Of the channels with the highest activation the place of it, highest first.

    maps: (m, h, w). One neuron a channel, so that the pictures differ.
    """
    peaks, places = maps.flatten(1).max(dim=1)
    width = maps.shape[2]
    chosen = peaks.argsort(descending=True, stable=True)[:count].tolist()
    return [Neuron(c, int(places[c]) // width, int(places[c]) % width) for c in chosen]


def guided_backpropagation(
    model: nn.Module, image: Tensor, *, stage: nn.Module, neuron: Neuron
) -> Tensor:
    """(3, s, s): what in the image excites a neuron (Springenberg et al., 2015, arXiv 1412.6806).

    The gradient of the neuron with respect to the image (1, 3, s, s), in which a negative gradient
    ends at every activation, and so does one at an activation whose output is not positive. ReLU's
    derivative is 1 where it lets pass, which is the paper's rule; GELU, SiLU and Mish multiply by
    their own derivative there, as in the plain gradient.
    """
    with _examined(model), _guided(model), _outputs({"stage": stage}) as outputs:
        return _gradient(model, image, outputs, neuron=neuron)


def saliency(model: nn.Module, image: Tensor, *, stage: nn.Module, neuron: Neuron) -> Tensor:
    """(3, s, s): the plain gradient of a neuron with respect to the image (1, 3, s, s)."""
    with _examined(model), _outputs({"stage": stage}) as outputs:
        return _gradient(model, image, outputs, neuron=neuron)


def grad_cam(model: nn.Module, image: Tensor, *, stage: nn.Module, label: int) -> Tensor:
    """(s, s) in 0..1: where the evidence for a class lies (Selvaraju et al., 2017).

    arXiv 1610.02391: the stage's maps, weighted by the mean over space of the gradient of the
    class's logit, summed, and cut off below 0; scaled to the image (1, 3, s, s) bilinearly. All 0
    where nothing speaks for the class.
    """
    with _examined(model), torch.enable_grad(), _outputs({"stage": stage}) as outputs:
        logits = model(image.detach().clone().requires_grad_())
        maps = outputs["stage"]
        (gradients,) = torch.autograd.grad(logits[0, label], maps)
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    heat = F.relu((weights * maps.detach()).sum(dim=1, keepdim=True))
    heat = F.interpolate(heat, size=image.shape[2:], mode="bilinear", align_corners=False)[0, 0]
    highest = float(heat.max())
    return heat / highest if highest > 0 else heat


def _gradient(
    model: nn.Module, image: Tensor, outputs: dict[str, Tensor], *, neuron: Neuron
) -> Tensor:
    with torch.enable_grad():
        pixels = image.detach().clone().requires_grad_()
        model(pixels)
        excitation = outputs["stage"][0, neuron.channel, neuron.row, neuron.column]
        (gradient,) = torch.autograd.grad(excitation, pixels)
    return gradient[0]


def _activation(block: nn.Module) -> nn.Module:
    """The block's last: of its residual blocks, where it has any, else behind its convolution."""
    residuals = [module for module in block.modules() if isinstance(module, Residual)]
    if residuals:
        return residuals[-1].activation
    return next(module for module in block.modules() if isinstance(module, ACTIVATION_TYPES))


@contextmanager
def _examined(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, for as long as the context lasts."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _outputs(modules: dict[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """What the modules give when the network runs within the context, under their names."""
    found: dict[str, Tensor] = {}

    def keeper(name: str) -> Any:
        def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            found[name] = output

        return keep

    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.callback(module.register_forward_hook(keeper(name)).remove)
        yield found


class _Guided(torch.autograd.Function):
    """An activation whose backward pass is that of guided backpropagation."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, activation: nn.Module) -> Tensor:
        ctx.save_for_backward(inputs)
        ctx.activation = activation
        output: Tensor = activation(inputs)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (inputs,) = ctx.saved_tensors
        with torch.enable_grad():
            inputs = inputs.detach().requires_grad_()
            output = ctx.activation(inputs)
            (passed,) = torch.autograd.grad(output, inputs, gradient.clamp(min=0))
        return passed * (output > 0), None


@contextmanager
def _guided(model: nn.Module) -> Iterator[None]:
    """Replaces what the activations do; a backward hook would not do where one works in place or is
    used twice, as in a ResNet."""
    activations = [module for module in model.modules() if isinstance(module, ACTIVATION_TYPES)]
    with ExitStack() as replaced:
        for module in activations:
            module.forward = _guided_forward(module)
            replaced.callback(module.__dict__.pop, "forward")
        yield


def _guided_forward(module: nn.Module) -> Any:
    twin = copy.copy(module)
    if hasattr(twin, "inplace"):
        twin.inplace = False  # type: ignore[assignment]
    return lambda inputs: _Guided.apply(inputs, twin)
