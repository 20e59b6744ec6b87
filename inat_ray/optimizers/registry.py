"""The optimizers that a recipe can name. A new optimizer is one more entry here.

The settings take the allowed names from this file, so it imports PyTorch only when it builds one:
commands that never train start in a second.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch.optim import Optimizer

Groups = list[dict[str, Any]]
"""Parameter groups as PyTorch takes them; each has its own `weight_decay`."""


@dataclass(frozen=True)
class OptimizerEntry:
    """An optimizer, and what it needs to know of a network."""

    build: "Callable[[Groups, float, float], Optimizer]"
    """From the groups, the learning rate and the momentum."""
    splits_hidden_weights: bool = False
    """Whether the matrices of hidden layers are groups of their own, marked `orthogonal`."""


def can_fuse(groups: Groups) -> bool:
    """Returns whether PyTorch has steps of one kernel for the device. Apple's GPUs: not all."""
    return all(each.device.type != "mps" for group in groups for each in group["params"])


def _adam(groups: Groups, lr: float, _: float) -> "Optimizer":
    from torch.optim import Adam

    return Adam(groups, lr=lr, fused=can_fuse(groups))


def _adamw(groups: Groups, lr: float, _: float) -> "Optimizer":
    from torch.optim import AdamW

    return AdamW(groups, lr=lr, fused=can_fuse(groups))


def _sgd(groups: Groups, lr: float, momentum: float) -> "Optimizer":
    from torch.optim import SGD

    fused = can_fuse(groups)
    return SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=fused)


def _muon(groups: Groups, lr: float, momentum: float) -> "Optimizer":
    from inat_ray.optimizers.muon import Muon

    return Muon(groups, lr=lr, momentum=momentum, fused=can_fuse(groups))


OPTIMIZERS = {
    "adam": OptimizerEntry(_adam),
    "adamw": OptimizerEntry(_adamw),
    "sgd": OptimizerEntry(_sgd),
    "muon": OptimizerEntry(_muon, splits_hidden_weights=True),
}

if TYPE_CHECKING:
    OptimizerName = str  # mypy takes only a list that is written out
else:
    OptimizerName = Literal[tuple(OPTIMIZERS)]
