"""Batches of the pack's images as tensors on the device; no loader processes, no queues."""

from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inat_ray.config.experiment import AugmentConfig
from inat_ray.data.augment import (
    Draw,
    Mix,
    Normalize,
    TensorFields,
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
    targets: Tensor
    """The labels, (n,), on the device."""

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def rows_on(self) -> torch.device:
        """Where the rows are wanted that are gathered here."""
        return torch.device("cpu") if self.resident is None else self.device

    def take(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Images (b, 3, S, S) uint8, channels last in memory, and labels (b,), on the device."""
        return self.gather(torch.from_numpy(rows).to(self.rows_on, non_blocking=True))

    def gather(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The same, of rows that are where they are wanted."""
        if self.resident is None:
            gathered = torch.from_numpy(np.take(self.pixels, self.indices[rows.numpy()], axis=0))
            images = gathered.to(self.device, non_blocking=True)
        else:
            images = self.resident[rows]
        labels = self.targets[rows.to(self.device, non_blocking=True)]
        return images.permute(0, 3, 1, 2), labels


def subset_images(data: DataSet, subset: SubsetName, device: torch.device) -> Images:
    """The images of a subset; on a GPU they are moved there once, if there is room."""
    indices = data.subset(subset)
    pixels = data.pack.images
    resident = None
    if fits_on(device, len(indices) * int(np.prod(pixels.shape[1:]))):
        resident = torch.from_numpy(np.take(pixels, indices, axis=0)).to(device)
    labels = data.pack.labels[indices]
    return Images(
        indices=indices,
        labels=labels,
        pixels=pixels,
        device=device,
        resident=resident,
        targets=torch.from_numpy(labels).to(device),
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
    """A rank's contiguous share of some rows."""
    return rows[share_of(len(rows), rank=rank, world_size=world_size)]


def share_of(count: int, *, rank: int, world_size: int) -> slice:
    """The places of a rank's share; shares differ by one at most and together are all."""
    size, larger = divmod(count, world_size)
    start = rank * size + min(rank, larger)
    return slice(start, start + size + (rank < larger))


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
    share: Tensor | float = 1.0


@dataclass(frozen=True)
class Plan(TensorFields):
    """What is random in the steps of an epoch; with its first axis removed, in one step."""

    rows: Tensor
    """(steps, b): the images of each global batch, where they are gathered."""
    draw: Draw | None
    """Of each of these images; None: they are not augmented."""
    mix: Mix | None


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
        for step in self.plans(epoch):
            yield self.batch(step)

    def plans(self, epoch: int) -> Iterator[Plan]:
        """The steps of an epoch: drawn at once and moved to the device at once."""
        plan = self._plan(epoch)
        for step in range(self.steps):
            yield plan.map(itemgetter(step))

    def batch(self, step: Plan) -> Batch:
        """This rank's share of a step."""
        total = len(step.rows)
        mine = share_of(total, rank=self.rank, world_size=self.world_size)
        images, labels = self._views(step, mine)
        if step.mix is None:
            return Batch(images, labels, total=total)
        theirs = step.mix.partners[mine]
        # A partner may belong to another rank, which augments it in the same way.
        if self.world_size == 1:
            partners, partner_labels = images[theirs], labels[theirs]
        else:
            partners, partner_labels = self._views(step, theirs)
        return Batch(
            images=apply_mix(images, partners, step.mix),
            labels=labels,
            total=total,
            partner_labels=partner_labels,
            share=step.mix.share,
        )

    def _plan(self, epoch: int) -> Plan:
        order = np.stack(
            shuffled_batches(
                len(self.images), batch_size=self.batch_size, seed=self.seed, epoch=epoch
            )
        )
        steps, count = order.shape
        draw = mix = None
        if self.augmentation is not None:
            rng, device = generator(self.seed, epoch), self.images.device
            draw = draw_augmentation(self.augmentation, order.size, rng)
            draw = draw.map(lambda each: each.view(steps, count, -1).to(device))
            mix = draw_mix(self.augmentation, steps=steps, count=count, rng=rng)
            mix = mix and mix.map(lambda each: each.to(device))
        return Plan(rows=torch.from_numpy(order).to(self.images.rows_on), draw=draw, mix=mix)

    def _views(self, step: Plan, places: slice | Tensor) -> tuple[Tensor, Tensor]:
        """The images at some places of the global batch, and their labels."""
        there = places.to(step.rows.device) if isinstance(places, Tensor) else places
        rows = step.rows[there]
        pixels, labels = self.images.gather(rows)
        if step.draw is None:
            return plain_view(pixels, size=self.size, normalize=self.normalize), labels
        draw = step.draw.map(lambda each: each[places])
        return augment(pixels, draw, size=self.size, normalize=self.normalize), labels
