"""Where a network can be cut in two: the frozen part, which need run only once, and the rest."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from inat_ray.models.head import head_inputs
from inat_ray.models.layers import BatchNorm, Layer
from inat_ray.models.trace import counting_flops, in_mode

MACS_A_BYTE = 100
"""Reading a byte of features counts as much as this many multiply-accumulates. By estimate, not by
measurement: a CPU core does some 15 in the time of a byte from a mapped file, a GPU some 50 in that
of a byte of its memory. It is a constant, so that a seed gives the same numbers everywhere."""


@dataclass(frozen=True)
class HeadCut:
    """The cut before the head, which is the last module that runs."""

    head: str
    shape: tuple[int, ...]
    """Of the features of one image."""
    text: str = ""
    """Tells cuts of the same network apart."""

    def before(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """Returns the part that turns images (n, 3, s, s) into features (n, ...)."""
        return partial(head_inputs, model, self.head)

    def after(self, model: nn.Module) -> nn.Module:
        """Returns the part that turns features into logits."""
        return model.get_submodule(self.head)

    def owns(self, key: str) -> bool:
        """Whether features depend on an entry of the network's state dict."""
        return not key.startswith(f"{self.head}.")


@torch.no_grad()
def head_cut(model: nn.Module, head: str, images: Tensor) -> HeadCut:
    """Returns the cut before the head; `images` (n, 3, s, s) show how large the features are."""
    with in_mode(model, training=False):
        return HeadCut(head, head_inputs(model, head, images).shape[1:])


@dataclass(frozen=True)
class GraphCut:
    """The cut through a graph that torch.fx has traced."""

    shape: tuple[int, ...]
    graphs: tuple[fx.Graph, fx.Graph, fx.Graph]
    """Of the frozen part, and of the rest in evaluation and in training mode: a trace keeps the
    mode that the network was in."""

    @property
    def text(self) -> str:
        return str(self.graphs[0])

    def before(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        return fx.GraphModule(model, self.graphs[0])

    def after(self, model: nn.Module) -> nn.Module:
        return _Rest(*(fx.GraphModule(model, graph) for graph in self.graphs[1:]))

    def owns(self, key: str) -> bool:
        places = (
            str(n.target) for n in self.graphs[0].nodes if n.op in ("call_module", "get_attr")
        )
        return any(f"{key}.".startswith(f"{place}.") for place in places)


Cut = HeadCut | GraphCut
"""A place in a network. Its parts share the network's modules, or those of a copy of it."""


class _Rest(nn.Module):
    def __init__(self, evaluates: nn.Module, trains: nn.Module) -> None:
        super().__init__()
        self.evaluates, self.trains = evaluates, trains

    def forward(self, features: Tensor) -> Any:
        return (self.trains if self.training else self.evaluates)(features)


def graph_cut(
    model: nn.Module, layers: Sequence[Layer], trained: Sequence[bool], images: Tensor, *, most: int
) -> GraphCut | None:
    """Returns the cut that saves the most work, with features of at most `most` bytes an image.

    Where all that save work are larger, the best of those. None where none saves any, or the
    network cannot be traced, or computes something else in two parts (other than on the meta
    device, that is tried on `images`, two of them).
    """
    try:
        with in_mode(model, training=False), torch.no_grad():
            return _graph_cut(model, layers, trained.index(True), images, most=most)
    except Exception:  # a network of one's own can fail in any way where it is traced
        return None


def _graph_cut(
    model: nn.Module, layers: Sequence[Layer], first: int, images: Tensor, *, most: int
) -> GraphCut | None:
    graph, training = _traced(model, training=False), _traced(model, training=True)
    nodes, twins = list(graph.nodes), list(training.nodes)
    measured = _Measured(model, graph)
    measured.run(images)
    end = _end(model, nodes, twins, layers, first)
    waists = [
        (node, twin)
        for node, twin in zip(nodes[:end], twins[:end], strict=True)
        if measured.gain(node) > 0 and _is_waist(node) and _is_waist(twin)
    ]
    if not waists:
        return None
    node, twin = max(
        waists,
        key=lambda pair: (bytes_of(measured.shapes[pair[0]]) <= most, measured.gain(pair[0])),
    )
    cut = GraphCut(measured.shapes[node], (_up_to(node), _from(node), _from(twin)))
    if images.is_meta:
        return cut
    logits = cut.after(model).eval()(cut.before(model)(images))
    return cut if torch.equal(logits, model(images)) else None


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whole: modules without others in them, which may look at the shapes of images; and batch
        norms, which have a mode of their own where they are frozen."""
        whole = isinstance(m, BatchNorm) or not any(True for _ in m.children())
        return whole or super().is_leaf_module(m, module_qualified_name)


def _traced(model: nn.Module, *, training: bool) -> fx.Graph:
    """Raises ValueError if a tensor is in the graph that does not move with the network."""
    kind: Any = type(model)

    def forward(self: nn.Module, images: Tensor) -> Any:
        return kind.forward(self, images)  # with the defaults of all other arguments

    with in_mode(model, training=training):
        traced = copy.copy(model)  # the tracer keeps tensors that it finds as attributes
        traced.__class__ = type(kind.__name__, (kind,), {"forward": forward})
        graph = _Tracer().trace(traced)
    own = {*dict(model.named_parameters(remove_duplicate=False))}
    own |= {*dict(model.named_buffers(remove_duplicate=False))}
    if lost := [n.target for n in graph.nodes if n.op == "get_attr" and n.target not in own]:
        raise ValueError(f"{lost[0]} is neither a parameter nor a buffer")
    return graph


class _Measured(fx.Interpreter):
    """Runs a graph once. State, of each node that gives a tensor with a row for each image:
    `shapes`, that of a row, and `macs`, the multiply-accumulates of an image so far."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, graph=graph)
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}
        self.macs: dict[fx.Node, int] = {}
        self._count: Callable[[], int] = lambda: 0
        self._images = 0

    def run(self, *args: Any, **options: Any) -> Any:
        self._images = len(args[0])
        with counting_flops() as self._count:
            return super().run(*args, **options)

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        is_numbers = isinstance(value, Tensor) and value.is_floating_point()
        if is_numbers and value.ndim and len(value) == self._images:
            self.shapes[n] = value.shape[1:]
            # A multiply-accumulate is two floating-point operations.
            self.macs[n] = self._count() // 2 // self._images
        return value

    def gain(self, node: fx.Node) -> int:
        """Multiply-accumulates that a cut after `node` saves for each image; 0 if it cannot be."""
        if node not in self.shapes:
            return 0
        return self.macs[node] - MACS_A_BYTE * bytes_of(self.shapes[node])


def bytes_of(shape: tuple[int, ...]) -> int:
    """Returns the bytes of one image's features, as they are kept: in float32."""
    return math.prod(shape) * torch.float32.itemsize


def _end(
    model: nn.Module,
    nodes: Sequence[fx.Node],
    twins: Sequence[fx.Node],
    layers: Sequence[Layer],
    first: int,
) -> int:
    """Returns how many nodes run before all that moves: layers that train, and dropout before them.

    `twins` are the nodes in training mode. In frozen layers they may differ: those do not train.
    """
    frozen = {module for layer in layers[:first] for module in layer.modules}
    moving = {module for layer in layers[first:] for module in layer.modules}
    moving |= {m for layer in layers[first:] for m in layer.stateless if _looks_at_mode(m)}
    end = next(place for place, node in enumerate(nodes) if _uses(node, model, moving))
    begin = 1 + max(place for place in range(end) if _uses(nodes[place], model, frozen))
    differs = (n for n in range(begin, end) if nodes[n].format_node() != twins[n].format_node())
    return next(differs, end)  # functional dropout, for one


def _looks_at_mode(module: nn.Module) -> bool:
    """Whether a module does something else in training, as dropout and stochastic depth do."""
    return "training" in type(module).forward.__code__.co_names and getattr(module, "p", 1) != 0


def _uses(node: fx.Node, model: nn.Module, modules: set[nn.Module]) -> bool:
    if node.op == "call_module":
        return any(each in modules for each in model.get_submodule(str(node.target)).modules())
    if node.op == "get_attr":
        return model.get_submodule(str(node.target).rpartition(".")[0]) in modules
    return False


def _is_waist(node: fx.Node) -> bool:
    """Whether all that the output depends on in the images goes through a node."""
    return all(each.op != "placeholder" for each in _needed(node))


def _needed(waist: fx.Node) -> set[fx.Node]:
    """The nodes from which the output follows, given the waist."""
    found: set[fx.Node] = set()
    waiting = [next(node for node in waist.graph.nodes if node.op == "output")]
    while waiting:
        node = waiting.pop()
        if node is not waist and node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found


def _up_to(waist: fx.Node) -> fx.Graph:
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in waist.graph.nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
        if node is waist:
            break
    graph.output(copies[waist])
    return graph


def _from(waist: fx.Node) -> fx.Graph:
    graph, needed = fx.Graph(), _needed(waist)
    copies = {waist: graph.placeholder("features")}
    for node in waist.graph.nodes:
        if node in needed:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    return graph
