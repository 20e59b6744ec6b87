"""What a network looks at: its first filters, its feature maps, and gradients back to the image.

Nothing here changes the network: hooks and replaced activations are removed when a function returns
or raises, training modes are restored, and no parameter gets a gradient.
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
    """Returns the kernels of the first convolution, (m, 3, k, k)."""
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    return first.weight.detach().cpu()


def stages(model: nn.Module) -> dict[str, nn.Module]:
    """Returns name -> the module whose output is that stage's maps, in forward order.

    In a CNN that is the activation of each block, in a ResNet the stem and the four groups of
    blocks.
    """
    if isinstance(model, nn.Sequential):
        blocks = [b for b in model if any(isinstance(m, nn.Conv2d) for m in b.modules())]
        return {f"block {i}": _activation(block) for i, block in enumerate(blocks, start=1)}
    groups = {f"stage {i}": model.get_submodule(f"layer{i}") for i in range(1, 5)}
    return {"stem": model.get_submodule("relu"), **groups}


def feature_maps(model: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """Returns stage -> maps (m, h, w) that the network makes of a normalized image (1, 3, s, s)."""
    with _evaluating(model), torch.no_grad(), _outputs(stages(model)) as outputs:
        model(image)
    return {name: output[0] for name, output in outputs.items()}


def probabilities(model: nn.Module, image: Tensor) -> Tensor:
    """Returns the network's prediction, (classes,), for a normalized image (1, 3, s, s)."""
    with _evaluating(model), torch.no_grad():
        logits: Tensor = model(image)
    return logits.softmax(dim=1)[0]


def busiest_neurons(maps: Tensor, count: int) -> list[Neuron]:
    """Returns the strongest places of the channels that respond most, the strongest first.

    maps: (m, h, w). One neuron a channel, so that the pictures differ.
    """
    peaks, places = maps.flatten(1).max(dim=1)
    width = maps.shape[2]
    chosen = peaks.argsort(descending=True, stable=True)[:count].tolist()
    return [Neuron(c, int(places[c]) // width, int(places[c]) % width) for c in chosen]


def guided_backpropagation(
    model: nn.Module, image: Tensor, *, stage: nn.Module, neuron: Neuron
) -> Tensor:
    """Returns what in the image excites a neuron (Springenberg et al., 2015, arXiv 1412.6806).

    That is (3, s, s), the gradient of the neuron with respect to the image (1, 3, s, s), except
    that at every activation a negative gradient ends, and so does one where the output is not
    positive. ReLU's derivative is 1 where it lets pass, which is the paper's rule; GELU, SiLU and
    Mish multiply by their own derivative there, as in the plain gradient.
    """
    pixels = image.detach().clone().requires_grad_()
    with _evaluating(model), _guided(model), _outputs({"stage": stage}) as outputs:
        with torch.enable_grad():
            model(pixels)
            excitation = outputs["stage"][0, neuron.channel, neuron.row, neuron.column]
        (gradient,) = torch.autograd.grad(excitation, pixels)
    return gradient[0]


def grad_cam(model: nn.Module, image: Tensor, *, stage: nn.Module, label: int) -> Tensor:
    """Returns where the evidence for a class lies, (s, s) in 0..1 (Selvaraju et al., 2017).

    arXiv 1610.02391: the stage's maps, weighted by the mean over space of the gradient of the
    class's logit, summed, and cut off below 0; scaled to the image (1, 3, s, s) bilinearly. All 0
    where nothing speaks for the class.
    """
    # Of a frozen network only the image can ask for gradients.
    pixels = image.detach().clone().requires_grad_()
    with _evaluating(model), torch.enable_grad(), _outputs({"stage": stage}) as outputs:
        logits = model(pixels)
        maps = outputs["stage"]
        (gradients,) = torch.autograd.grad(logits[0, label], maps)
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    heat = F.relu((weights * maps.detach()).sum(dim=1, keepdim=True))
    heat = F.interpolate(heat, size=image.shape[2:], mode="bilinear", align_corners=False)[0, 0]
    highest = float(heat.max())
    return heat / highest if highest > 0 else heat


def _activation(block: nn.Module) -> nn.Module:
    """Returns the activation at the end of a block: its last residual block's, if it has any."""
    residuals = [module for module in block.modules() if isinstance(module, Residual)]
    if residuals:
        return residuals[-1].activation
    return next(module for module in block.modules() if isinstance(module, ACTIVATION_TYPES))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Puts the model in evaluation mode within the context."""
    # Mode by mode: frozen parts of a model that trains are in evaluation mode already.
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _outputs(modules: dict[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Collects, by name, what the modules give when the network runs within the context."""
    found: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for name, module in modules.items():

            def keep(_module: nn.Module, _inputs: Any, output: Tensor, name: str = name) -> None:
                found[name] = output

            hooks.enter_context(module.register_forward_hook(keep))
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
    """Replaces what the activations do within the context."""
    # A backward hook would not do: it fails where an activation works in place, and it cannot tell
    # the calls apart where one is used twice, both as in a ResNet.
    with ExitStack() as replaced:
        for module in model.modules():
            if isinstance(module, ACTIVATION_TYPES):
                module.forward = _guided_forward(module)
                replaced.callback(module.__dict__.pop, "forward")
        yield


def _guided_forward(module: nn.Module) -> Any:
    twin = copy.copy(module)
    if hasattr(twin, "inplace"):
        twin.inplace = False  # type: ignore[assignment]
    return lambda inputs: _Guided.apply(inputs, twin)
