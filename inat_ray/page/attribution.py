"""What a network looks at: the maps that its layers make of an image, and gradients back to it.

Which layers make maps is seen, not known by name: one pass tells, so any network will do. Nothing
here changes the network: hooks are removed when a function returns or raises, training modes are
restored, and no parameter gets a gradient.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from math import isqrt
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from inat_ray.models.trace import in_mode

Rectifier = Callable[[Tensor], Tensor]

Layout = Literal["channels first", "channels last", "tokens"]

MOST_EXTRA_TOKENS = 8
"""Tokens before those of the patches: a class, and registers."""


def _functions(*names: str) -> set[Callable[..., Any]]:
    """Returns PyTorch's functions of these names, as functions and as methods of tensors."""
    places = (F, torch, Tensor)
    return {getattr(place, name) for place in places for name in names if hasattr(place, name)}


RECTIFIERS = _functions(
    *("relu", "relu_", "relu6", "hardtanh", "leaky_relu", "elu"),
    *("gelu", "silu", "mish", "hardswish"),
)
"""Modules call these too: nn.ReLU6 is hardtanh."""

CAPPED = _functions("relu6", "hardtanh")

ATTENTION = _functions("scaled_dot_product_attention", "multi_head_attention_forward")

SOFTMAX = _functions("softmax")
"""Of more than two dimensions, the weights of attention: logits have two."""


class UnexplainedError(Exception):
    """Says why a network cannot be explained in some way, after "Not for this network: "."""


@dataclass(frozen=True)
class Neuron:
    """A place in a layer's output."""

    channel: int
    row: int
    column: int


@dataclass(frozen=True)
class Maps:
    """A layer's output that is a map of the image, `side` x `side` for each channel."""

    name: str
    """Of the layer's module."""
    output: Tensor
    """As the layer gave it, with its graph."""
    side: int
    layout: Layout

    def of(self, tensor: Tensor) -> Tensor:
        """Returns the maps (m, side, side) in a tensor of the output's shape."""
        if self.layout == "channels first":
            return tensor[0]
        if self.layout == "channels last":
            return tensor[0].permute(2, 0, 1)
        patches = tensor[0, -(self.side**2) :]  # the class token and registers stand before them
        maps: Tensor = patches.T.unflatten(1, (self.side, self.side))
        return maps


@dataclass(frozen=True)
class Pass:
    """A network's way from an image (1, 3, s, s) to its logits."""

    pixels: Tensor
    logits: Tensor
    """(1, classes)."""
    maps: Sequence[Maps]
    """In forward order; a layer that runs twice is there twice."""

    @property
    def stages(self) -> list[Maps]:
        """Returns the last maps of each size, in forward order: what each stage has made.

        Raises UnexplainedError if there are none.
        """
        if not self.maps:
            raise UnexplainedError("none of its layers makes a map of the image")
        last: dict[int, Maps] = {}
        for maps in self.maps:
            last.pop(maps.side, None)
            last[maps.side] = maps
        return list(last.values())


def watch(
    model: nn.Module, image: Tensor, *, within: AbstractContextManager[object] | None = None
) -> Pass:
    """Runs a normalized image (1, 3, s, s) through a network in evaluation mode."""
    # Of a frozen network only the image can ask for gradients.
    pixels = image.detach().clone().requires_grad_()
    watching = _maps_found(model, pixels)
    evaluating = in_mode(model, training=False)
    with evaluating, torch.enable_grad(), watching as found, within or nullcontext():
        logits = model(pixels)
    return Pass(pixels, logits, found)


def busiest_neurons(maps: Tensor, count: int) -> list[Neuron]:
    """Returns the strongest places of the channels that respond most, the strongest first.

    maps: (m, h, w). One neuron a channel, so that the pictures differ.
    """
    peaks, places = maps.flatten(1).max(dim=1)
    width = maps.shape[2]
    chosen = peaks.argsort(descending=True, stable=True)[:count].tolist()
    return [Neuron(c, int(places[c]) // width, int(places[c]) % width) for c in chosen]


def guided_backpropagation(model: nn.Module, seen: Pass, neurons: Sequence[Neuron]) -> list[Tensor]:
    """Returns what in the image excites each neuron of the last maps.

    Springenberg et al., 2015, arXiv 1412.6806: (3, s, s), the gradient of the neuron with respect
    to the image, except that at every rectifier a negative gradient ends, and so does one where the
    output is not positive. ReLU's derivative is 1 where it lets pass, which is the paper's rule;
    GELU, SiLU and Mish multiply by their own derivative there, as in the plain gradient. ReLU6 lets
    pass also above 6, where the busiest neurons are.

    Raises UnexplainedError if the network has no rectifiers, or attention, which has no such rule.
    """
    rule = _GuidedRule()
    guided = watch(model, seen.pixels, within=rule)
    if rule.attended:
        raise UnexplainedError("it has attention, for which guided backpropagation has no rule")
    if not rule.rectified:
        raise UnexplainedError(
            "no ReLU or its like runs in it, and guided backpropagation is about those"
        )
    if not guided.logits.allclose(seen.logits, rtol=1e-3, atol=1e-5):
        raise UnexplainedError("it does not give the same logits twice")
    maps = guided.maps[-1].of(guided.maps[-1].output)
    return [
        torch.autograd.grad(maps[n.channel, n.row, n.column], guided.pixels, retain_graph=True)[0][
            0
        ]
        for n in neurons
    ]


def grad_cam(seen: Pass, *, label: int) -> tuple[Maps, Tensor]:
    """Returns where the evidence for a class lies, (s, s) in 0..1, and the maps that show it.

    Selvaraju et al., 2017, arXiv 1610.02391: the maps, weighted by the mean over space of the
    gradient of the class's logit, summed, and cut off below 0; scaled to the image bilinearly. All
    0 where nothing speaks for the class. The maps are the last ones that the logit depends on: in
    a network with a class token these are what the last attention sees.
    """
    maps, gradient = _last_that_matters(seen, label)
    weights = gradient.mean(dim=(1, 2), keepdim=True)
    heat = F.relu((weights * maps.of(maps.output.detach())).sum(dim=0))[None, None]
    size = seen.pixels.shape[2:]
    heat = F.interpolate(heat, size=size, mode="bilinear", align_corners=False)[0, 0]
    highest = float(heat.max())
    return maps, heat / highest if highest > 0 else heat


def _last_that_matters(seen: Pass, label: int) -> tuple[Maps, Tensor]:
    """Returns maps and the logit's gradient with respect to them, (m, side, side)."""
    for maps in reversed(seen.maps):
        (gradient,) = torch.autograd.grad(
            seen.logits[0, label], maps.output, retain_graph=True, allow_unused=True
        )
        if gradient is not None and maps.of(gradient).any():
            return maps, maps.of(gradient)
    last = seen.stages[-1]
    return last, torch.zeros_like(last.of(last.output))


@contextmanager
def _maps_found(model: nn.Module, image: Tensor) -> Iterator[list[Maps]]:
    """Collects the maps that a network's modules give when it runs within the context."""
    found: list[Maps] = []
    finder = _Finder(most=image.shape[-1])
    with ExitStack() as hooks:
        for name, module in model.named_modules():

            def keep(module: nn.Module, given: Any, output: Any, name: str = name) -> None:
                if (shown := finder.maps(name, module, given, output)) is not None:
                    found.append(shown)

            hooks.enter_context(module.register_forward_hook(keep))
        yield found


class _Finder:
    """Tells which outputs are maps.

    State: `_side`, that of the last map, if any; `_pooled`, what the last pooling gave.
    """

    def __init__(self, *, most: int) -> None:
        self._most, self._side, self._pooled = most, 0, torch.empty(0)

    def maps(self, name: str, module: nn.Module, given: Any, output: Any) -> Maps | None:
        if not (isinstance(output, Tensor) and output.requires_grad and len(output) == 1):
            return None
        found = self._layout(output, same=bool(given) and _shape(given[0]) == output.shape)
        if found is None:
            return None
        layout, self._side = found
        # What a pool leaves is a coarser copy of the maps before it, also as its block's output.
        if type(module).__module__ == nn.MaxPool2d.__module__:
            self._pooled = output
        return None if output is self._pooled else Maps(name, output, self._side, layout)

    def _layout(self, output: Tensor, *, same: bool) -> tuple[Layout, int] | None:
        """`same`: whether the module got a tensor of the output's shape."""
        if output.dim() == 4:
            first, second, third = output.shape[1:]
            if second == third and self._fits(second):
                return "channels first", second
            if first == second and self._fits(first):
                return "channels last", first
        # Within attention there are tokens of other widths, which are no maps.
        if output.dim() == 3 and same:
            tokens = output.shape[1]
            side = self._side or isqrt(tokens)
            extra = MOST_EXTRA_TOKENS if self._side else 1
            if self._fits(side) and 0 <= tokens - side**2 <= extra:
                return "tokens", side
        return None

    def _fits(self, side: int) -> bool:
        """Maps get smaller from layer to layer, but for a border: weights of attention do not."""
        return 2 <= side < 2 * (self._side or self._most)


def _shape(given: Any) -> torch.Size | None:
    return given.shape if isinstance(given, Tensor) else None


class _Guided(torch.autograd.Function):
    """A rectifier whose backward pass is that of guided backpropagation."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, rectifier: Rectifier, slope: Rectifier) -> Tensor:
        """`slope` has the derivative that counts."""
        ctx.save_for_backward(inputs)
        ctx.slope = slope
        return rectifier(inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (inputs,) = ctx.saved_tensors
        with torch.enable_grad():
            inputs = inputs.detach().requires_grad_()
            output = ctx.slope(inputs)
            (passed,) = torch.autograd.grad(output, inputs, gradient.clamp(min=0))
        return passed * (output > 0), None, None


class _GuidedRule(TorchFunctionMode):
    """Replaces what rectifiers do within the context, whether modules or functions.

    State: whether a rectifier, and whether attention, ran.
    """

    # A backward hook would not do: it fails where an activation works in place, and it cannot tell
    # the calls apart where one is used twice, both as in a ResNet.

    def __init__(self) -> None:
        super().__init__()
        self.rectified = self.attended = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        options = kwargs or {}
        if func in ATTENTION or (func in SOFTMAX and args[0].dim() > 2):
            self.attended = True
        if not (func in RECTIFIERS and args):
            return func(*args, **options)
        self.rectified = True

        def rectifier(inputs: Tensor) -> Tensor:
            result: Tensor = func(inputs.clone(), *args[1:], **options)  # it may work in place
            return result

        return _Guided.apply(args[0], rectifier, F.relu if func in CAPPED else rectifier)
