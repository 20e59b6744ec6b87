"""Muon: momentum whose steps are made orthogonal, for the matrices of a network's hidden layers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of Newton and Schulz, as Jordan et al. chose them for so few iterations."""

RMS = 0.2
"""Root mean square of a step at a learning rate of 1: about AdamW's, so that both share a rate."""


class Muon(AdamW):
    """Orthogonal steps for the groups that say `orthogonal`, AdamW's for the others.

    An orthogonal step goes along the nearest orthogonal matrix to the Nesterov momentum, so that
    every direction of a layer learns at the same pace (Jordan et al., 2024,
    kellerjordan.github.io/posts/muon). A convolution's weight counts as the matrix (outputs,
    inputs * height * width). Scale and weight decay are those of Liu et al., 2025 (arXiv
    2502.16982). PyTorch's own Muon takes no convolutions.

    State of an orthogonal weight: `momentum`, the average of its gradients, and `step`, unused.
    """

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, momentum: float) -> None:
        super().__init__(groups, lr=lr, fused=True)
        self.momentum = momentum

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"] if group["orthogonal"] else []:
                if weight.grad is not None:
                    self._orthogonal_step(weight, group["lr"], group["weight_decay"])
                    weight.grad = None  # by which AdamW passes over it
        super().step()

    def _orthogonal_step(self, weight: Tensor, lr: float, weight_decay: float) -> None:
        state, gradient = self.state[weight], weight.grad
        assert gradient is not None
        if not state:
            state["step"] = torch.zeros(())  # AdamW wants it of everything that it restores
            state["momentum"] = torch.zeros_like(weight)
        average = state["momentum"].lerp_(gradient, 1 - self.momentum)
        matrix = gradient.lerp(average, self.momentum).flatten(1)
        scale = RMS * max(matrix.shape) ** 0.5
        weight.mul_(1 - lr * weight_decay)
        weight.add_(orthogonal(matrix).view_as(weight), alpha=-lr * scale)


def orthogonal(matrix: Tensor) -> Tensor:
    """Nearly U V^T, where U S V^T is the singular value decomposition of `matrix`, (m, n).

    The iteration brings the singular values near one, to between about 0.7 and 1.2, and does not
    make them equal: for an optimiser that is as good, and faster. Every factor is a polynomial of
    X X^T, so the products are of small square matrices and X itself is multiplied twice, not ten
    times: 1.8 times as fast for (512, 2304).
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    gram = x @ x.T
    product = factor = _factor(gram)
    for _ in range(ITERATIONS - 1):
        gram = factor @ gram @ factor
        factor = _factor(gram)
        product = factor @ product
    x = product @ x
    return x.T if tall else x


def _factor(gram: Tensor) -> Tensor:
    """What an iteration multiplies X by, from X X^T: a I + b X X^T + c (X X^T)^2."""
    a, b, c = COEFFICIENTS
    factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal().add_(a)
    return factor
