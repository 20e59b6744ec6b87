"""What a network does when it runs: its layers in forward order, and all that goes with each.

The order is seen, not guessed: one forward pass tells which module runs when. So it holds for any
network, whatever it is made of and in whatever order its author wrote that down.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd as Convolution

WEIGHTED = (Convolution, nn.Linear, nn.Bilinear, nn.MultiheadAttention, nn.Embedding, nn.RNNBase)
"""Modules that are layers wherever they stand. Another one is a layer if it has a weight matrix and
no modules of its own."""


@dataclass(frozen=True)
class Structure:
    """The layers of a network by name, in forward order."""

    layers: tuple[tuple[str, ...], ...]
    """The modules of each layer as in the state dict: `layer1.0.conv1`, `layer1.0.bn1`."""
    stateless: tuple[tuple[str, ...], ...]
    """Modules without parameters (dropout, pooling) that run before each layer and after the one
    before it."""
    macs: tuple[int, ...]
    """Multiply-accumulates of one image in each layer and in what runs until the next, such as
    attention; zeros unless they were counted."""
    output_shape: tuple[int, ...]
    """Shape of what the network returned; empty if that is no tensor."""
    ends_in_last_layer: bool
    """Whether the last layer's output is the network's own."""


@contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Puts a network into training or evaluation mode, and back as it was."""
    # Mode by mode: frozen parts of a network that trains are in evaluation mode already.
    modes = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training


@dataclass(frozen=True)
class _Event:
    """A module that begins with this input, or ends with this output."""

    begins: bool
    module: nn.Module
    tensor: Any
    flops: int
    """Of the whole network so far."""


def trace(model: nn.Module, images: Tensor, *, count_macs: bool = False) -> Structure:
    """Runs `images` (n, 3, s, s) through a network in evaluation mode, and returns what ran.

    Raises what the network raises, and ValueError if no layer ran.
    """
    events: list[_Event] = []

    def begins(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        events.append(_Event(True, module, inputs[0] if inputs else None, flops()))

    def ends(module: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        events.append(_Event(False, module, output, flops()))

    with ExitStack() as stack:
        for context in (in_mode(model, training=False), torch.no_grad(), _attention_in_parts()):
            stack.enter_context(context)
        flops: Callable[[], int] = stack.enter_context(
            counting_flops() if count_macs else nullcontext(lambda: 0)
        )
        for module in model.modules():
            stack.callback(module.register_forward_pre_hook(begins).remove)
            stack.callback(module.register_forward_hook(ends).remove)
        output = model(images)
        order = _Order(_owners(model, {event.module for event in events if event.begins}))
        for event in events:
            order.take(event)
        return order.structure(model, output, flops=flops())


def _owners(model: nn.Module, called: set[nn.Module]) -> dict[nn.Module, list[nn.Module]]:
    """Returns module that ran -> the modules whose parameters and buffers go with it.

    A module that is used without being called (attention reads the weights of its projections)
    goes with the one that it is a part of.
    """
    names = dict(model.named_modules())
    owners: dict[nn.Module, list[nn.Module]] = {}
    for name, module in names.items():
        own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
        if own:
            owner = name
            while names[owner] not in called:
                owner = owner.rpartition(".")[0]
            owners.setdefault(names[owner], []).append(module)
    return owners


class _Order:
    """Puts modules into layers, event by event.

    State: `_layers`, each as [what waited for it, its own modules]; `_waiting` and `_idle`, modules
    with and without parameters that go with the next layer; `_running`, the layer that has begun
    and not ended; `_output`, what the last layer gave; `_flops`, the count as each layer began.
    """

    def __init__(self, owners: dict[nn.Module, list[nn.Module]]) -> None:
        self._owners, self._seen = owners, set[nn.Module]()
        self._layers: list[tuple[list[nn.Module], list[nn.Module]]] = []
        self._stateless: list[list[nn.Module]] = []
        self._waiting: list[nn.Module] = []
        self._idle: list[nn.Module] = []
        self._running: nn.Module | None = None
        self._output: Any = None
        self._flops: list[int] = []

    def take(self, event: _Event) -> None:
        if not event.begins:
            if event.module is self._running:
                self._running, self._output = None, event.tensor
        elif event.module not in self._seen:
            self._seen.add(event.module)
            self._begin(event)

    def _begin(self, event: _Event) -> None:
        module, group = event.module, self._owners.get(event.module, [])
        if self._running is not None:
            self._layers[-1][1].extend(group)
        elif self._is_layer(module, group):
            self._layers.append((self._waiting, group))
            self._stateless.append(self._idle)
            self._flops.append(event.flops)
            self._waiting, self._idle, self._running = [], [], module
        elif group:
            follows = self._layers and event.tensor is self._output
            (self._layers[-1][1] if follows else self._waiting).extend(group)
        elif not list(module.children()):
            self._idle.append(module)

    def _is_layer(self, module: nn.Module, group: list[nn.Module]) -> bool:
        parts = list(module.children())
        if is_weighted(module) or (not parts and _has_matrix(module)):
            return True
        below = set(module.modules()) - {module}
        return any(map(is_weighted, group)) and not any(part in self._owners for part in below)

    def structure(self, model: nn.Module, output: Any, *, flops: int) -> Structure:
        if not self._layers:
            raise ValueError("no convolution or dense layer ran")
        # The output layer is new while the norm before it has its weights: those part here.
        if len(self._layers) > 1:
            self._layers[-2][1].extend(self._layers[-1][0])
            self._layers[-1][0].clear()
        self._layers[-1][1].extend(self._waiting)
        names: dict[nn.Module, list[str]] = {}  # two, in the state dict, if it stands in two places
        for name, module in model.named_modules(remove_duplicate=False):
            names.setdefault(module, []).append(name)
        ends = [*self._flops[1:], flops]
        return Structure(
            layers=tuple(
                tuple(name for module in (*own, *before) for name in names[module])
                for before, own in self._layers
            ),
            stateless=tuple(tuple(names[module][0] for module in idle) for idle in self._stateless),
            # A multiply-accumulate is two floating-point operations.
            macs=tuple((end - begin) // 2 for begin, end in zip(self._flops, ends, strict=True)),
            output_shape=tuple(output.shape) if isinstance(output, Tensor) else (),
            ends_in_last_layer=output is self._output,
        )


def is_weighted(module: nn.Module) -> bool:
    return isinstance(module, WEIGHTED)


def _has_matrix(module: nn.Module) -> bool:
    own = module.parameters(recurse=False)
    return any(sum(size > 1 for size in parameter.shape) > 1 for parameter in own)


@contextmanager
def counting_flops() -> Iterator[Callable[[], int]]:
    """Counts floating-point operations; yields a function that returns how many there were."""
    # Imported only now: they bring Triton.
    from torch.utils.flop_counter import FlopCounterMode

    from inat_ray.optimizers.eager import without_compiler

    without_compiler()
    with _attention_in_parts(), FlopCounterMode(display=False) as counter:
        yield counter.get_total_flops


@contextmanager
def _attention_in_parts() -> Iterator[None]:
    """Keeps attention from being one fused step, of whose work PyTorch's counter knows nothing."""
    was_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_enabled)
