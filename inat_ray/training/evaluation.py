"""Evaluates a model on a subset of the images: each once, not augmented."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from inat_ray.config.experiment import Experiment, RecipeConfig
from inat_ray.config.metrics import Tally
from inat_ray.data.augment import Normalize, plain_view
from inat_ray.data.batches import Images, evaluation_batches, subset_images
from inat_ray.data.dataset import DataSet
from inat_ray.data.split import SubsetName
from inat_ray.models.ensemble import members_of
from inat_ray.training.calibration import LEAST, calibrated
from inat_ray.training.device import autocast
from inat_ray.training.ranks import ALONE, Ranks
from inat_ray.training.sums import EvaluationSums

BATCH_SIZE = 128
"""On a CPU. Larger batches were no faster, and take memory that trials may need."""

GPU_BATCH_SIZE = {"cuda": 512, "mps": 512}
"""At most, by the kind of device. Smaller batches leave a GPU waiting for the host."""

UNCHANGED = (1.0,)
"""The temperature of a single network whose probabilities are as it gives them."""


@dataclass(frozen=True)
class Evaluation:
    """The results of a subset, every image once, in the subset's order."""

    tally: Tally
    """Of the images of all ranks."""
    probabilities: Tensor
    """(n, classes), on the CPU; each of several ranks has those of its own images."""
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
    """Whole images scaled to `size` pixels; if `mirrored`, their mirror images too."""

    images: Images
    normalize: Normalize
    size: int
    mirrored: bool

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        data: DataSet,
        subset: SubsetName,
        *,
        normalize: Normalize,
        device: torch.device,
    ) -> Self:
        """Returns the images of a subset as the experiment evaluates them."""
        return cls(
            images=subset_images(data, subset, device),
            normalize=normalize,
            size=experiment.image_size,
            mirrored=experiment.recipe.flip_average,
        )

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: NDArray[np.int64]) -> tuple[list[Tensor], Tensor]:
        pixels, labels = self.images.take(rows)
        views = pixel_views(
            pixels, size=self.size, normalize=self.normalize, mirrored=self.mirrored
        )
        return views, labels


def pixel_views(pixels: Tensor, *, size: int, normalize: Normalize, mirrored: bool) -> list[Tensor]:
    """Turns pixels (b, 3, S, S), uint8, into the views (b, 3, size, size) that the model sees."""
    return with_mirror(plain_view(pixels, size=size, normalize=normalize), mirrored=mirrored)


def with_mirror(view: Tensor, *, mirrored: bool) -> list[Tensor]:
    """Returns a view (b, 3, s, s), and its mirror image if that is averaged over too."""
    return [view, view.flip(3)] if mirrored else [view]


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    views: Views,
    *,
    classes: int,
    recipe: RecipeConfig,
    temperatures: Sequence[float] = UNCHANGED,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """Evaluates a model, with a loss without smoothing or weights.

    `temperatures`: as of `average_probabilities`. Several ranks share the images; the tally is that
    of all of them.
    """
    model.eval()
    device = next(model.parameters()).device
    # Apple's GPUs have no float64, in which metrics are summed.
    summed_on = torch.device("cpu") if device.type == "mps" else device
    sums = EvaluationSums(classes, summed_on)
    none = torch.empty(0, device=summed_on)
    parts = [(none.view(0, classes), none.long())]
    most = GPU_BATCH_SIZE.get(device.type)
    batch_size = equal_size(-(-len(views) // ranks.world_size), most=most) if most else BATCH_SIZE
    for rows in evaluation_batches(
        len(views), batch_size=batch_size, rank=ranks.rank, world_size=ranks.world_size
    ):
        # On a GPU every batch has one shape: for another one, cuDNN would choose algorithms anew.
        seen, labels = views.take(np.resize(rows, batch_size) if most else rows)
        labels = labels[: len(rows)].to(summed_on)
        probabilities = average_probabilities(model, seen, recipe, temperatures=temperatures)
        probabilities = probabilities[: len(rows)].to(summed_on)
        losses = F.nll_loss(probabilities.clamp(min=LEAST).log(), labels, reduction="none")
        sums.add(losses, probabilities, labels)
        parts.append((probabilities, labels))
    probabilities, labels = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
    return Evaluation(sums.tally(ranks), probabilities, labels)


def equal_size(count: int, *, most: int) -> int:
    """Returns the size of as few batches as there must be, all equal but for the last one's end."""
    batches = max(1, -(-count // most))
    return max(1, -(-count // batches))


def lay_out(views: Tensor, recipe: RecipeConfig) -> Tensor:
    """Returns images in the memory format of the recipe; features have only one."""
    if recipe.channels_last and views.ndim == 4:
        return views.contiguous(memory_format=torch.channels_last)
    return views.contiguous()


def average_probabilities(
    model: nn.Module,
    views: Sequence[Tensor],
    recipe: RecipeConfig,
    *,
    temperatures: Sequence[float] = UNCHANGED,
) -> Tensor:
    """Returns the mean probabilities (b, classes) of the views; NaN where the model gives NaN.

    Of an ensemble, the mean of its networks', each with its own temperature.
    """
    seen = [lay_out(view, recipe) for view in views]
    with autocast(recipe, seen[0].device):
        logits = [[network(view) for view in seen] for network in members_of(model)]
    return mean_probabilities(logits, temperatures)


def mean_probabilities(logits: Sequence[Sequence[Tensor]], temperatures: Sequence[float]) -> Tensor:
    """Returns the mean (b, classes) over networks, from the logits of each in each of its views."""
    shares = [
        calibrated(torch.stack([each.float().softmax(dim=1) for each in views]).mean(dim=0), own)
        for views, own in zip(logits, temperatures, strict=True)
    ]
    return shares[0] if len(shares) == 1 else torch.stack(shares).mean(dim=0)
