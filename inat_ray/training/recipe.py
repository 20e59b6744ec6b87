"""Optimiser, learning rate and loss of a recipe."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from inat_ray.config.experiment import RecipeConfig
from inat_ray.data.batches import Batch
from inat_ray.models.layers import Layer
from inat_ray.training.muon import Muon

FLOOR = 1e-3
"""One-cycle and warm-up start at this share of the peak; one-cycle ends there too."""


def lr_factor(recipe: RecipeConfig, step: int, total: int) -> float:
    """Share of the peak learning rate in step `step` of `total`, counted from 0.

    cosine: linear warm-up, then half a cosine to zero (Loshchilov & Hutter, 2017).
    one_cycle: half a cosine up, half a cosine down (Smith & Topin, 2018).
    warmup_stable_decay: linear up, constant, linear to zero (Hu et al., 2024).
    """
    progress = (step + 0.5) / total
    warm_up = recipe.warmup_fraction
    if recipe.schedule == "constant":
        return 1.0
    if progress < warm_up:
        if recipe.schedule == "one_cycle":
            return FLOOR + (1 - FLOOR) * (1 - _half_cosine(progress / warm_up))
        return max(FLOOR, progress / warm_up)
    since = (progress - warm_up) / (1 - warm_up)
    match recipe.schedule:
        case "cosine":
            return _half_cosine(since)
        case "one_cycle":
            return FLOOR + (1 - FLOOR) * _half_cosine(since)
        case "warmup_stable_decay":
            decay = recipe.decay_fraction
            return 1.0 if progress < 1 - decay else (1 - progress) / decay


def _half_cosine(x: float) -> float:
    """From 1 at x = 0 to 0 at x = 1."""
    return 0.5 * (1 + math.cos(math.pi * x))


def build_optimizer(recipe: RecipeConfig, layers: Sequence[Layer | None]) -> torch.optim.Optimizer:
    """The recipe's optimiser of a network's layers in forward order, None for a frozen one.

    Weight decay acts on matrices, not on biases and norms. A group's `lr_share` is its learning
    rate as a share of the output layer's.
    """
    groups = parameter_groups(recipe, layers)
    match recipe.optimizer:
        case "adam":
            return torch.optim.Adam(groups, lr=recipe.lr, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)
        case "sgd":
            nesterov = recipe.momentum > 0
            return torch.optim.SGD(
                groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov, fused=True
            )
        case "muon":
            return Muon(groups, lr=recipe.lr, momentum=recipe.momentum)


def portable(state: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state without learning rates on a device; each step sets its own."""
    for group in state["param_groups"]:
        group["lr"] = float(group["lr"])
    return state


def parameter_groups(recipe: RecipeConfig, layers: Sequence[Layer | None]) -> list[dict[str, Any]]:
    """The trained parameters by learning rate, weight decay and, of Muon, the kind of step."""
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for place, layer in enumerate(layers):
        share, is_hidden = lr_share(recipe, place, len(layers)), place < len(layers) - 1
        for parameter in layer.parameters if layer is not None else []:
            is_matrix = parameter.ndim > 1
            decay = recipe.weight_decay if is_matrix else 0.0
            orthogonal = recipe.optimizer == "muon" and is_hidden and is_matrix
            groups.setdefault((share, decay, orthogonal), []).append(parameter)
    return [
        {"params": parameters, "lr_share": share, "weight_decay": decay, "orthogonal": orthogonal}
        for (share, decay, orthogonal), parameters in groups.items()
    ]


def lr_share(recipe: RecipeConfig, place: int, count: int) -> float:
    """The learning rate of layer `place` of `count` as a share of the last, the output layer.

    Layer-wise decay as in Clark et al. (ELECTRA, 2020): each layer below has `layer_decay` times
    the rate of the one above it.
    """
    below = count - 1 - place
    if not below:
        return 1.0
    decay = 1.0 if recipe.layer_decay is None else recipe.layer_decay
    return float(recipe.backbone_lr_factor * decay**below)


Loss = Callable[[Tensor, Batch], Tensor]
"""(logits (b, classes), batch) -> losses (b,)."""


def build_loss(
    recipe: RecipeConfig, *, labels: NDArray[np.int64], classes: int, device: torch.device
) -> Loss:
    """Cross-entropy with the recipe's smoothing and class weights; `labels` of training images."""
    weight = None
    if recipe.class_weights == "balanced":
        weight = balanced_weights(labels, classes).to(device)

    def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(
            logits.float(),
            labels,
            weight=weight,
            label_smoothing=recipe.label_smoothing,
            reduction="none",
        )

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        own = cross_entropy(logits, batch.labels)
        if batch.partner_labels is None:
            return own
        return batch.share * own + (1 - batch.share) * cross_entropy(logits, batch.partner_labels)

    return loss


def balanced_weights(labels: NDArray[np.int64], classes: int) -> Tensor:
    """(classes,): inverse to the class's frequency, one on average over the images."""
    counts = np.bincount(labels, minlength=classes)
    return torch.tensor(len(labels) / (classes * counts), dtype=torch.float32)
