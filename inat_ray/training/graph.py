"""A training step as one CUDA graph: launched once, not kernel by kernel."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from inat_ray.data.batches import Plan

WARM_UP = 3
"""Steps before the capture, after which cuDNN has chosen its algorithms and the optimizer has its
state."""

Step = Callable[[Plan, Tensor], None]
"""Trains on the plan of a step, at a learning rate, ()."""


class StepGraph:
    """Runs steps of equal shapes; after some, the step is captured and replayed from then on.

    A step of a small network is several hundred kernels of a few microseconds, and the host needs
    longer to ask for each: the 5-block CNN at batch 32 kept an H100 busy for 2.4 of a step's 15 ms.
    The steps before the capture are steps of the training like any other, and the capture runs
    nothing, so no state has to be put back (PyTorch's own helpers warm up on extra steps).

    State: the graph, and the tensors that it reads, into which each step's values are copied.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._stream = torch.cuda.Stream()
        self._eager_steps: float = WARM_UP
        self._graph: torch.cuda.CUDAGraph | None = None
        self._plan: Plan
        self._lr: Tensor

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Surrounds steps: a stream that is captured must not be the default one."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            yield
        torch.cuda.current_stream().wait_stream(self._stream)

    def run(self, step: Step, plan: Plan, lr: Tensor) -> None:
        """Runs the next step. `step` must not change; not kept, since it may hold this graph."""
        if self._graph is None and self._eager_steps <= 0:
            self._capture(step, plan, lr)
        if self._graph is None:
            self._eager_steps -= 1
            step(plan, lr)
            return
        torch._foreach_copy_([*self._plan.tensors(), self._lr], [*plan.tensors(), lr])
        self._graph.replay()

    def _capture(self, step: Step, plan: Plan, lr: Tensor) -> None:
        self._plan, self._lr = plan.map(torch.clone), lr.clone()
        graph = torch.cuda.CUDAGraph()
        self._optimizer.zero_grad(set_to_none=True)  # gradients then lie in the graph's memory
        # thread_local: what other threads do with the GPU must not fail the capture.
        capture = torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local")
        try:
            with _capturable(self._optimizer), capture:
                step(self._plan, self._lr)
        except RuntimeError as error:
            first, *_ = str(error).splitlines()
            warnings.warn(f"steps are not captured as a CUDA graph: {first}", stacklevel=2)
            self._eager_steps = float("inf")
        else:
            self._graph = graph


@contextmanager
def _capturable(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Tells PyTorch's check that the capture is intended, and only for so long.

    A checkpoint with this flag could not be resumed on a CPU.
    """
    for group in optimizer.param_groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in optimizer.param_groups:
            group["capturable"] = False
