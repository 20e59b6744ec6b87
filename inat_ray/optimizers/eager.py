"""Keeps PyTorch from loading its compiler, torch._dynamo, in processes that compile nothing.

It takes as long to load as PyTorch itself, two seconds of a core in each process that trains.
Optimizers, the counter of operations and the meta device load it at their first call, only to tell
it to look away from what they do.
"""

import gc
from contextlib import suppress
from functools import cache
from types import FunctionType
from typing import Any

import torch
import torch.utils.flop_counter  # it has such functions, too
from torch.optim import SGD, Adam


@cache
def without_compiler() -> None:
    """Makes all functions of PyTorch that keep the compiler away do without it.

    How they do that is PyTorch's own affair. Where a version does it in another way, the compiler
    is loaded as it always was; a test holds that the version tested here does not load it.
    """
    with suppress(ImportError, AttributeError, ValueError, TypeError):
        _keep_originals()
        _step_without_profiler()


def _keep_originals() -> None:
    """Keeps the original of each such function where PyTorch looks for the compiler's.

    PyTorch wraps each in a function that asks the compiler for one that it leaves alone, and keeps
    that beside the original for later calls.
    """
    from torch._compile import _disable_dynamo

    wrapper: Any = _disable_dynamo(without_compiler)
    place = wrapper.__code__.co_freevars.index("fn")
    for one in gc.get_objects():
        # `type`, not `isinstance`: some objects of PyTorch warn when asked for their class.
        if type(one) is FunctionType and one.__code__ is wrapper.__code__:
            original = one.__closure__[place].cell_contents  # type: ignore[index]
            original.__dynamo_disable = original


def _step_without_profiler() -> None:
    """A step of an optimizer loads the compiler, around which it sets no more than `no_grad`."""
    for kind in (Adam, SGD):  # AdamW's step is Adam's
        step: Any = kind.step
        if not hasattr(step, "hooked"):  # no optimizer of the kind has been made yet
            kind.step = torch.no_grad()(step.__wrapped__)  # type: ignore[method-assign]
