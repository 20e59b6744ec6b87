"""Batches of the pack's images as tensors on the device; no loader processes, no queues."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inat_ray.config.experiment import AugmentConfig
from inat_ray.data.augment import (
    Draw,
    Normalize,
    apply_mix,
    augment,
    draw_augmentation,
    draw_mix,
    generator,
    plain_view,
)
from inat_ray.data.dataset import DataSet
from inat_ray.data.split import Indices, SubsetName

RESIDENT_SHARE = 0.5
"""A subset lives on the GPU where it takes less than this share of the memory that is free."""


@dataclass(frozen=True)
class Images:
    """One subset of the data, ready to be gathered from: on the GPU, or mapped from disk."""

    indices: Indices
    """(n,), into the pack."""
    labels: NDArray[np.int64]
    """(n,)."""
    pixels: NDArray[np.uint8]
    """The whole pack's, (m, S, S, 3), mapped."""
    device: torch.device
    resident: Tensor | None
    """(n, S, S, 3) uint8 on the device, where it fits there."""

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Images (b, 3, S, S) uint8, channels last in memory, and labels (b,), on the device."""
        labels = torch.from_numpy(self.labels[rows]).to(self.device, non_blocking=True)
        if self.resident is None:
            gathered = torch.from_numpy(np.take(self.pixels, self.indices[rows], axis=0))
            images = gathered.to(self.device, non_blocking=True)
        else:
            images = self.resident[torch.from_numpy(rows).to(self.device, non_blocking=True)]
        return images.permute(0, 3, 1, 2), labels


def subset_images(data: DataSet, subset: SubsetName, device: torch.device) -> Images:
    """The images of a subset; on a GPU they are moved there once, if there is room."""
    indices = data.subset(subset)
    pixels = data.pack.images
    resident = None
    if fits_on(device, len(indices) * int(np.prod(pixels.shape[1:]))):
        resident = torch.from_numpy(np.take(pixels, indices, axis=0)).to(device)
    return Images(
        indices=indices,
        labels=data.pack.labels[indices],
        pixels=pixels,
        device=device,
        resident=resident,
    )


def fits_on(device: torch.device, size: int) -> bool:
    """Whether `size` bytes may live on the device: a GPU that has room for it."""
    return device.type == "cuda" and size < RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]


def shuffled_batches(
    count: int, *, batch_size: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """The rows of each step's global batch: a permutation drawn from (seed, epoch).

    Whole batches only: what is left over in this epoch's order comes in another's. Fewer
    images than a batch make one batch.
    """
    order = np.random.default_rng([seed, epoch]).permutation(count)
    steps = steps_per_epoch(count, batch_size)
    return np.split(order[: steps * batch_size], steps)


def steps_per_epoch(count: int, batch_size: int) -> int:
    return max(1, count // batch_size)


def rank_share(rows: NDArray[np.int64], *, rank: int, world_size: int) -> NDArray[np.int64]:
    """A rank's contiguous share; shares differ by one row at most and together are all rows."""
    return np.array_split(rows, world_size)[rank]


def evaluation_batches(
    count: int, *, batch_size: int, rank: int, world_size: int
) -> Iterator[NDArray[np.int64]]:
    """A rank's rows in order, each row on exactly one rank."""
    mine = rank_share(np.arange(count), rank=rank, world_size=world_size)
    for start in range(0, len(mine), batch_size):
        yield mine[start : start + batch_size]


@dataclass(frozen=True)
class Batch:
    """A rank's share of a step: normalised images (b, 3, s, s), labels (b,), on the device.

    In place of images it may hold what a frozen part of the network made of them, (b, d).
    """

    images: Tensor
    labels: Tensor
    total: int
    """Images of the step over all ranks."""
    partner_labels: Tensor | None = None
    """(b,): mixup or cutmix; the loss weighs them with 1 - share."""
    share: float = 1.0


@dataclass(frozen=True)
class TrainingBatches:
    """The training images of a run, as one rank sees them epoch by epoch."""

    images: Images
    normalize: Normalize
    size: int
    """Side of the views, in pixels."""
    batch_size: int
    """Over all ranks."""
    seed: int
    augmentation: AugmentConfig | None
    rank: int = 0
    world_size: int = 1

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of all training images."""
        return self.images.labels

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return steps_per_epoch(len(self.images), self.batch_size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """This rank's share of each step of an epoch."""
        order = shuffled_batches(
            len(self.images), batch_size=self.batch_size, seed=self.seed, epoch=epoch
        )
        for step, rows in enumerate(order):
            yield self._batch(rows, generator(self.seed, epoch, step))

    def _batch(self, rows: NDArray[np.int64], rng: torch.Generator) -> Batch:
        mine = torch.from_numpy(
            rank_share(np.arange(len(rows)), rank=self.rank, world_size=self.world_size)
        )
        if self.augmentation is None:
            images, labels = self.images.take(rows[mine.numpy()])
            view = plain_view(images, size=self.size, normalize=self.normalize)
            return Batch(view, labels, total=len(rows))
        draw = draw_augmentation(self.augmentation, len(rows), rng)
        mix = draw_mix(self.augmentation, len(rows), rng)
        images, labels = self._augmented(rows, draw, mine)
        if mix is None:
            return Batch(images, labels, total=len(rows))
        # A partner may belong to another rank, which augments it in the same way.
        theirs = mix.partners[mine]
        partners, partner_labels = self._augmented(rows, draw, theirs)
        return Batch(
            images=apply_mix(images, partners, mix),
            labels=labels,
            total=len(rows),
            partner_labels=partner_labels,
            share=mix.share,
        )

    def _augmented(
        self, rows: NDArray[np.int64], draw: Draw, places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The images at some places of the global batch, augmented as drawn for them."""
        images, labels = self.images.take(rows[places.numpy()])
        views = augment(images, draw[places], size=self.size, normalize=self.normalize)
        return views, labels
