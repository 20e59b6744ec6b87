"""The training loss of a recipe."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from inat_ray.config.experiment import RecipeConfig
from inat_ray.data.batches import Batch

Loss = Callable[[Tensor, Batch], Tensor]
"""(logits (b, classes), batch) -> losses (b,)."""


def build_loss(
    recipe: RecipeConfig, *, labels: NDArray[np.int64], classes: int, device: torch.device
) -> Loss:
    """Returns cross-entropy with the recipe's smoothing and class weights.

    `labels` are those of all training images: the class weights come from them.
    """
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
    """Returns weights (classes,) inverse to the class's frequency, 1 on average over the images."""
    counts = np.bincount(labels, minlength=classes)
    return torch.tensor(len(labels) / (classes * counts.clip(min=1)), dtype=torch.float32)
