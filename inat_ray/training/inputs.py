"""The data that a training run reads: images, or features that a frozen part made of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from inat_ray.config.experiment import Experiment
from inat_ray.data.augment import Normalize
from inat_ray.data.batches import Batch, TrainingBatches, subset_images
from inat_ray.data.dataset import DataSet
from inat_ray.models.cut import Cut
from inat_ray.training.evaluation import PixelViews, Views
from inat_ray.training.features import FeatureBatches, FeatureStore
from inat_ray.training.ranks import Ranks


class Batches(Protocol):
    """A rank's share of the training epochs."""

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        ...

    @property
    def labels(self) -> NDArray[np.int64]:
        """The labels of all training images."""
        ...

    def epoch(self, epoch: int) -> Iterator[Batch]: ...


@dataclass(frozen=True)
class Inputs:
    """The two sides of a run's data, and which part of the network sees them."""

    batches: Batches
    validation: Views
    part: Callable[[nn.Module], nn.Module]


def open_inputs(
    experiment: Experiment,
    data: DataSet,
    *,
    model: nn.Module,
    cut: Cut | None,
    normalize: Normalize,
    ranks: Ranks,
    progress: bool,
) -> Inputs:
    """Opens the features at a cut of the network if there is one, otherwise images."""
    if cut is not None:
        store = FeatureStore(experiment, data, model=model, cut=cut, normalize=normalize)
        train, validation = store.open(progress=progress and ranks.is_first)
        recipe = experiment.recipe
        batches = FeatureBatches(
            train, batch_size=recipe.batch_size, seed=experiment.seed, ranks=ranks
        )
        return Inputs(batches, validation, part=cache(cut.after))
    device = next(model.parameters()).device
    return Inputs(
        training_batches(experiment, data, normalize=normalize, device=device, ranks=ranks),
        PixelViews.of(experiment, data, "validation", normalize=normalize, device=device),
        part=_whole,
    )


def training_batches(
    experiment: Experiment,
    data: DataSet,
    *,
    normalize: Normalize,
    device: torch.device,
    ranks: Ranks,
) -> TrainingBatches:
    """Returns the training images, augmented as the recipe says."""
    recipe = experiment.recipe
    return TrainingBatches(
        images=subset_images(data, "train", device),
        normalize=normalize,
        size=experiment.image_size,
        side_in=experiment.side_in,
        batch_size=recipe.batch_size,
        seed=experiment.seed,
        augmentation=recipe.augmentation if recipe.augment else None,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )


def _whole(model: nn.Module) -> nn.Module:
    return model
