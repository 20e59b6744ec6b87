"""A model on a subset of the images: each once, as it is."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from inat_ray.config.experiment import RecipeConfig
from inat_ray.config.metrics import Tally
from inat_ray.data.augment import Normalize, plain_view
from inat_ray.data.batches import Images, evaluation_batches
from inat_ray.training.device import autocast
from inat_ray.training.metrics import EvaluationSums
from inat_ray.training.ranks import ALONE, Ranks

BATCH_SIZE = 128
"""Larger ones were no faster on a CPU, and take memory that trials may need."""

GPU_BATCH_SIZE = 512
"""Smaller ones leave a GPU waiting for the host."""

LEAST = 1e-12
"""Below this a probability counts as this, so that its logarithm is a number."""


@dataclass(frozen=True)
class Evaluation:
    """A subset, every image once, in its order."""

    tally: Tally
    """Of the images of all ranks."""
    probabilities: Tensor
    """(n, classes), on the CPU; of several ranks each has those of its own images."""
    labels: Tensor
    """(n,), on the CPU, likewise."""


class Views(Protocol):
    """A subset as a model sees it: each image in one view, or in several to be averaged over."""

    def __len__(self) -> int: ...

    def take(self, rows: NDArray[np.int64]) -> tuple[list[Tensor], Tensor]:
        """The views (each (b, ...)) of some images, and their labels (b,), on the device."""
        ...


@dataclass(frozen=True)
class PixelViews:
    """Images as they are, scaled to `size` pixels; with `mirrored` their mirror images too."""

    images: Images
    normalize: Normalize
    size: int
    mirrored: bool

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: NDArray[np.int64]) -> tuple[list[Tensor], Tensor]:
        pixels, labels = self.images.take(rows)
        views = pixel_views(
            pixels, size=self.size, normalize=self.normalize, mirrored=self.mirrored
        )
        return views, labels


def pixel_views(pixels: Tensor, *, size: int, normalize: Normalize, mirrored: bool) -> list[Tensor]:
    """(b, 3, S, S) uint8 to what the model sees: (b, 3, size, size), and perhaps its mirror."""
    view = plain_view(pixels, size=size, normalize=normalize)
    return [view, view.flip(3)] if mirrored else [view]


@torch.inference_mode()
def evaluate(
    model: nn.Module, views: Views, *, classes: int, recipe: RecipeConfig, ranks: Ranks = ALONE
) -> Evaluation:
    """Not augmented; the loss without smoothing or weights.

    Several ranks share the images; the metrics are those of all of them.
    """
    model.eval()
    device = next(model.parameters()).device
    sums = EvaluationSums(classes, device)
    none = torch.empty(0, device=device)
    parts = [(none.view(0, classes), none.long())]
    batch_size = GPU_BATCH_SIZE if device.type == "cuda" else BATCH_SIZE
    for rows in evaluation_batches(
        len(views), batch_size=batch_size, rank=ranks.rank, world_size=ranks.world_size
    ):
        seen, labels = views.take(rows)
        probabilities = average_probabilities(model, seen, recipe)
        losses = F.nll_loss(probabilities.clamp(min=LEAST).log(), labels, reduction="none")
        sums.add(losses, probabilities, labels)
        parts.append((probabilities, labels))
    probabilities, labels = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
    return Evaluation(sums.tally(ranks), probabilities, labels)


def lay_out(views: Tensor, recipe: RecipeConfig) -> Tensor:
    """Images in the memory format of the recipe; features have but one."""
    if recipe.channels_last and views.ndim == 4:
        return views.contiguous(memory_format=torch.channels_last)
    return views.contiguous()


def average_probabilities(model: nn.Module, views: list[Tensor], recipe: RecipeConfig) -> Tensor:
    """(b, classes), averaged over the views and summing to one; NaN where the model gives NaN."""
    with autocast(recipe, views[0].device):
        logits = [model(lay_out(view, recipe)) for view in views]
    return torch.stack([each.float().softmax(dim=1) for each in logits]).mean(dim=0)
