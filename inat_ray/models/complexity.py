"""How large a model is: parameters and multiply-accumulate operations."""

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Complexity:
    parameters: int
    macs: int
    """Multiply-accumulate operations of one image's forward pass; biases and norms not counted."""


def complexity(model: nn.Module, image_size: int) -> Complexity:
    """Counted by torch's own counter on one image of 3 x image_size x image_size.

    On the meta device: no memory is taken and nothing is computed.
    """
    hollow = copy.deepcopy(model).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        hollow(torch.empty(1, 3, image_size, image_size, device="meta"))
    return Complexity(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        # A multiply-accumulate is two floating-point operations.
        macs=counter.get_total_flops() // 2,
    )
