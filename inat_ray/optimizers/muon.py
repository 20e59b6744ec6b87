"""Muon: momentum whose steps are made orthogonal, for the matrices of a network's hidden layers."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import AdamW

ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of a Newton-Schulz iteration, as Jordan et al. chose them for so few steps."""

PRODUCTS = 1 + 4 * (ITERATIONS - 1)
"""Products of Gram matrices in a step."""

RMS = 0.2
"""Root mean square of a step at a learning rate of 1: about AdamW's, so that both use one rate."""

PADDED_SIDE = 512
"""On a GPU, Gram matrices up to this side are iterated together, padded with zeros. A launch takes
longer than the padding: 22 launches for all of the 5-block CNN's, not 22 for each."""


class Muon(AdamW):
    """Orthogonal steps for the groups that say `orthogonal`, AdamW's for the others.

    An orthogonal step goes along the nearest orthogonal matrix to the Nesterov momentum, so that
    every direction of a layer learns at the same pace (Jordan et al., 2024,
    kellerjordan.github.io/posts/muon). A convolution's weight counts as the matrix (outputs,
    inputs * height * width). Scale and weight decay are those of Liu et al., 2025 (arXiv
    2502.16982). PyTorch's own Muon takes no convolutions.

    State of an orthogonal weight: `momentum`, the average of its gradients, and `step`, unused.
    """

    def __init__(
        self, groups: list[dict[str, Any]], *, lr: float, momentum: float, fused: bool = True
    ) -> None:
        super().__init__(groups, lr=lr, fused=fused)
        self.momentum = momentum
        self._rank, self._world_size = 0, 1

    def divide(self, *, rank: int, world_size: int) -> None:
        """Divides the orthogonal steps among processes that train the same weights together.

        Each computes those of some matrices, a quarter of a worker's time otherwise (the 5-block
        CNN, 64 images of 64 px on one core), and sends the others the weights.
        """
        self._rank, self._world_size = rank, world_size

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            weights = [w for w in group["params"] if w.grad is not None]
            if group["orthogonal"] and weights:
                self._orthogonal_steps(weights, group["lr"], group["weight_decay"])
                for weight in weights:
                    weight.grad = None  # so that AdamW skips it
        super().step()

    def _orthogonal_steps(
        self, weights: list[Tensor], lr: float | Tensor, weight_decay: float
    ) -> None:
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        momenta = [self._momentum_of(weight) for weight in weights]
        torch._foreach_lerp_(momenta, gradients, 1 - self.momentum)
        directions = torch._foreach_lerp(gradients, momenta, self.momentum)
        torch._foreach_mul_(weights, 1 - lr * weight_decay)
        matrices = [_matrix(weight, like=weight) for weight in weights]
        owners = owners_of([matrix.shape for matrix in matrices], world_size=self._world_size)
        mine = [place for place, owner in enumerate(owners) if owner == self._rank]
        add_orthogonal(
            [matrices[place] for place in mine],
            [_matrix(directions[place], like=weights[place]) for place in mine],
            factor=-lr * RMS,
        )
        if self._world_size > 1:
            pairs = zip(matrices, owners, strict=True)
            for sent in [dist.broadcast(each, owner, async_op=True) for each, owner in pairs]:
                assert sent is not None
                sent.wait()

    def _momentum_of(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros(())  # AdamW expects it in every state that it restores
            state["momentum"] = torch.zeros_like(weight)
        momentum: Tensor = state["momentum"]
        return momentum


def owners_of(shapes: Sequence[Sequence[int]], *, world_size: int) -> list[int]:
    """Returns the rank that computes each matrix's step: the costliest first, to the least busy."""
    costs = [min(shape) ** 2 * (2 * max(shape) + PRODUCTS * min(shape)) for shape in shapes]
    owners, loads = [0] * len(shapes), [0] * world_size
    for place in sorted(range(len(shapes)), key=lambda place: -costs[place]):
        owners[place] = loads.index(min(loads))
        loads[owners[place]] += costs[place]
    return owners


def add_orthogonal(
    weights: Sequence[Tensor], directions: Sequence[Tensor], *, factor: float | Tensor
) -> None:
    """Adds to each weight, (m, n), the orthogonal matrix nearest to its direction.

    The matrix is scaled by `factor` and the square root of the longer side, so that the root mean
    square of the change is `factor` for every shape.
    """
    for places in _together(directions):
        stack = [directions[place] for place in places]
        products = list(orthogonalizers(_gram_matrices(stack)).unbind())
        torch._foreach_mul_(products, [max(direction.shape) ** 0.5 for direction in stack])
        torch._foreach_mul_(products, factor)
        for place, direction, product in zip(places, stack, products, strict=True):
            own = product[: min(direction.shape), : min(direction.shape)]
            left, right = (direction, own) if _is_tall(direction) else (own, direction)
            weights[place].addmm_(left, right)


def orthogonalizers(grams: Tensor) -> Tensor:
    """Turns Gram matrices X X^T, (k, s, s), into Q with Q X nearly U V^T, where X = U S V^T.

    The iteration brings the singular values near one, to between about 0.7 and 1.2, and does not
    make them equal: for an optimizer that is as good, and faster. Every factor is a polynomial of
    X X^T, so the products are of small square matrices and X itself is multiplied twice, not ten
    times: 1.8 times as fast for (512, 2304). Rows and columns of zeros stay apart from the others.
    """
    norms = grams.diagonal(dim1=1, dim2=2).sum(dim=1).sqrt()[:, None, None] + 1e-7
    gram = grams / norms**2
    product = factor = _factor(gram)
    for _ in range(ITERATIONS - 1):
        gram = factor @ gram @ factor
        factor = _factor(gram)
        product = factor @ product
    return product / norms


def _factor(gram: Tensor) -> Tensor:
    """Returns the factor of X in an iteration, from X X^T: a I + b X X^T + c (X X^T)^2."""
    a, b, c = COEFFICIENTS
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor


def _gram_matrices(matrices: Sequence[Tensor]) -> Tensor:
    """Returns the smaller of X X^T and X^T X for each matrix, padded to the largest, (k, s, s)."""
    sides = [min(matrix.shape) for matrix in matrices]
    grams = matrices[0].new_zeros(len(matrices), max(sides), max(sides))
    for gram, matrix, side in zip(grams, matrices, sides, strict=True):
        x = matrix.T if _is_tall(matrix) else matrix
        torch.mm(x, x.T, out=gram[:side, :side])
    return grams


def _together(matrices: Sequence[Tensor]) -> list[list[int]]:
    """Groups the places of matrices whose Gram matrices are iterated as one stack.

    Their sides are equal, or similar on a GPU, where a launch costs more than the work on zeros.
    """
    stacks: dict[int, list[int]] = {}
    for place, matrix in enumerate(matrices):
        side = min(matrix.shape)
        if matrix.is_cuda:
            side = max(PADDED_SIDE, 1 << (side - 1).bit_length())
        stacks.setdefault(side, []).append(place)
    return list(stacks.values())


def _is_tall(matrix: Tensor) -> bool:
    return matrix.shape[0] > matrix.shape[1]


def _matrix(tensor: Tensor, *, like: Tensor) -> Tensor:
    """Flattens to (outputs, the rest), the rest in the order in which `like` lies in memory.

    So the result is a view, and the order of columns makes no difference to what is orthogonal.
    """
    if like.ndim == 4 and like.is_contiguous(memory_format=torch.channels_last):
        tensor = tensor.permute(0, 2, 3, 1)
    return tensor.flatten(1)
