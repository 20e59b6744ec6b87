"""A model on a subset of the images: each once, as it is."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inat_ray.config.experiment import RecipeConfig
from inat_ray.data.augment import Normalize, plain_view
from inat_ray.data.batches import Images, evaluation_batches
from inat_ray.training.device import autocast
from inat_ray.training.metrics import Metrics, Sums

BATCH_SIZE = 128
"""Larger ones were no faster on a CPU, and take memory that trials may need."""

LEAST = 1e-12
"""Below this a probability counts as this, so that its logarithm is a number."""


@dataclass(frozen=True)
class Evaluation:
    """A subset, every image once, in its order."""

    metrics: Metrics
    probabilities: Tensor
    """(n, classes), on the CPU."""
    labels: Tensor
    """(n,), on the CPU."""


@torch.inference_mode()
def evaluate(
    model: nn.Module, *, images: Images, normalize: Normalize, size: int, recipe: RecipeConfig
) -> Evaluation:
    """Not augmented; the loss without smoothing or weights; with the recipe's flip averaging.

    `size` is the side of the views in pixels.
    """
    model.eval()
    sums: Sums | None = None
    parts: list[tuple[Tensor, Tensor]] = []
    for rows in evaluation_batches(len(images), batch_size=BATCH_SIZE, rank=0, world_size=1):
        pixels, labels = images.take(rows)
        views = plain_view(pixels, size=size, normalize=normalize)
        probabilities = _probabilities(model, views, recipe)
        sums = sums or Sums(probabilities.shape[1], images.device)
        losses = F.nll_loss(probabilities.clamp(min=LEAST).log(), labels, reduction="none")
        sums.add(losses, probabilities, labels)
        parts.append((probabilities, labels))
    assert sums is not None
    probabilities, labels = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
    return Evaluation(metrics=sums.metrics(), probabilities=probabilities, labels=labels)


def lay_out(images: Tensor, recipe: RecipeConfig) -> Tensor:
    """Images in the memory format of the recipe."""
    if recipe.channels_last:
        return images.contiguous(memory_format=torch.channels_last)
    return images.contiguous()


def _probabilities(model: nn.Module, views: Tensor, recipe: RecipeConfig) -> Tensor:
    """(b, classes), summing to one; NaN where the model gives NaN."""
    with autocast(recipe, views.device):
        logits = [model(lay_out(views, recipe))]
        if recipe.flip_average:
            logits.append(model(lay_out(views.flip(3), recipe)))
    return torch.stack([each.float().softmax(dim=1) for each in logits]).mean(dim=0)
