"""Batches of the pack's images as tensors on the device; no loader processes, no queues.

Every rank draws the whole step (rows, augmentation, mix) from (seed, epoch) and then takes its
share, so that the number of ranks changes nothing but who computes what.
"""

from collections.abc import Callable, Iterator
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
    moved,
    plain_view,
    scaled,
)
from inat_ray.data.dataset import DataSet
from inat_ray.data.resident import Key, resident
from inat_ray.data.split import Indices, SubsetName


@dataclass(frozen=True)
class Images:
    """One subset of the data, from which batches are gathered: on the GPU, or mapped from disk."""

    indices: Indices
    """(n,), into the pack."""
    labels: NDArray[np.int64]
    """(n,)."""
    pixels: NDArray[np.uint8]
    """The whole pack's, (m, S, S, 3), mapped."""
    device: torch.device
    resident: Tensor | None
    """(n, S, S, 3) uint8 on the device, if it fits there."""
    targets: Tensor
    """The labels, (n,), on the device."""

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def rows_on(self) -> torch.device:
        """The device to put rows on, so that a CUDA graph moves none."""
        return torch.device("cpu") if self.resident is None else self.device

    def take(self, rows: NDArray[np.int64] | Tensor) -> tuple[Tensor, Tensor]:
        """Returns images (b, 3, S, S) uint8, channels last, and labels (b,), on the device."""
        rows = moved(torch.as_tensor(rows), self.rows_on)
        if self.resident is None:
            images = moved(self._gather(self.indices[rows.numpy()]), self.device)
        else:
            images = self.resident[rows]
        labels = self.targets[moved(rows, self.device)]
        return images.permute(0, 3, 1, 2), labels

    def _gather(self, places: NDArray[np.int64]) -> Tensor:
        """Returns some of the pack's images, (b, S, S, 3), in the host's memory.

        For a GPU it is pinned, so that the copy waits for nobody: PyTorch gives such memory out
        again once the copy is done.
        """
        shape, pinned = (len(places), *self.pixels.shape[1:]), self.device.type == "cuda"
        images = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
        # With a check of the places, NumPy would copy everything twice.
        np.take(self.pixels, places, axis=0, out=images.numpy(), mode="clip")
        return images


def subset_images(data: DataSet, subset: SubsetName, device: torch.device) -> Images:
    """Opens the images of a subset; on a GPU they are moved to it at once, if there is room."""
    indices, pixels = data.subset(subset), data.pack.images
    labels = data.pack.labels[indices]
    return Images(
        indices=indices,
        labels=labels,
        pixels=pixels,
        device=device,
        resident=resident(
            Key(str(data.pack.path), subset, indices.tobytes()),
            lambda: np.take(pixels, indices, axis=0),
            size=len(indices) * pixels[0].nbytes,
            device=device,
        ),
        targets=torch.from_numpy(labels).to(device),
    )


def shuffled_batches(count: int, *, batch_size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Returns the rows of each step's global batch, (steps, b): a permutation of (seed, epoch).

    Whole batches only, so that every step has equal shapes (a CUDA graph needs that) and every
    image equal weight: the few that this epoch leaves out come in another. Fewer images than a
    batch make one batch.
    """
    order = np.random.default_rng([seed, epoch]).permutation(count)
    steps = steps_per_epoch(count, batch_size)
    return order[: steps * batch_size].reshape(steps, -1)


def steps_per_epoch(count: int, batch_size: int) -> int:
    return max(1, count // batch_size)


def rank_share(rows: NDArray[np.int64], *, rank: int, world_size: int) -> NDArray[np.int64]:
    """Returns a rank's contiguous share of some rows."""
    return rows[share_of(len(rows), rank=rank, world_size=world_size)]


def share_of(count: int, *, rank: int, world_size: int) -> slice:
    """Returns the places of a rank's share: all shares together are `count`, each place once.

    If it does not divide, the first ranks have one more, and nothing is padded: a padded image
    would count twice in an accuracy. So sums are added up over the ranks and divided by their own
    total (`Batch.total`); a mean of the ranks' means would weigh images unequally.
    """
    size, larger = divmod(count, world_size)
    start = rank * size + min(rank, larger)
    return slice(start, start + size + (rank < larger))


def evaluation_batches(
    count: int, *, batch_size: int, rank: int, world_size: int
) -> Iterator[NDArray[np.int64]]:
    """Yields a rank's rows in order, each row on exactly one rank; none for a rank without any."""
    mine = rank_share(np.arange(count), rank=rank, world_size=world_size)
    for start in range(0, len(mine), batch_size):
        yield mine[start : start + batch_size]


@dataclass(frozen=True)
class Batch:
    """A rank's share of a step: normalized images (b, 3, s, s), labels (b,), on the device.

    Instead of images it may hold the features that a frozen backbone made of them, (b, d).
    """

    images: Tensor
    labels: Tensor
    total: int
    """Images of the step over all ranks."""
    partner_labels: Tensor | None = None
    """(b,): mixup or CutMix; the loss weighs them with 1 - share."""
    share: Tensor | float = 1.0


@dataclass(frozen=True)
class Plan(TensorFields):
    """All that is random in an epoch's steps; without the first axis, in one step."""

    rows: Tensor
    """(steps, b): the images of each global batch, on `Images.rows_on`."""
    draw: Draw | None
    """(steps, b, k) each; None: the images are not augmented."""
    mix: Mix | None
    side: int
    """Of the views, in pixels."""


@dataclass(frozen=True)
class TrainingBatches:
    """A run's training images, as one rank sees them epoch by epoch."""

    images: Images
    normalize: Normalize
    size: int
    """Side of the views, in pixels."""
    side_in: Callable[[int], int]
    """The side to which an epoch scales them."""
    batch_size: int
    """Images of a step, over all ranks."""
    seed: int
    augmentation: AugmentConfig | None
    rank: int = 0
    world_size: int = 1

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels of all training images."""
        return self.images.labels

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return steps_per_epoch(len(self.images), self.batch_size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yields this rank's share of each step of an epoch."""
        return map(self.batch, self.plans(epoch))

    def plans(self, epoch: int) -> Iterator[Plan]:
        """Yields the steps of an epoch: drawn at once and moved to the device at once."""
        plan = self._plan(epoch)
        for step in range(self.steps):
            yield plan.map(itemgetter(step))

    def batch(self, step: Plan) -> Batch:
        """Makes this rank's share of a step."""
        total = len(step.rows)
        mine = share_of(total, rank=self.rank, world_size=self.world_size)
        images, labels = self._views(step, mine)
        if step.mix is None:
            return Batch(images, labels, total=total)
        theirs = step.mix.partners[mine]
        # A partner may belong to another rank. It is augmented here too, by the same draw, so that
        # ranks exchange no pixels.
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
        device = self.images.device
        order = shuffled_batches(
            len(self.images), batch_size=self.batch_size, seed=self.seed, epoch=epoch
        )
        steps, count = order.shape
        side = self.side_in(epoch)
        rows = torch.from_numpy(order).to(self.images.rows_on)
        if self.augmentation is None:
            return Plan(rows=rows, draw=None, mix=None, side=side)
        rng = generator(self.seed, epoch)
        draw = draw_augmentation(self.augmentation, order.size, rng)
        mix = draw_mix(self.augmentation, steps=steps, count=count, rng=rng)
        return Plan(
            rows=rows,
            draw={name: drawn.view(steps, count, -1).to(device) for name, drawn in draw.items()},
            mix=mix and mix.map(lambda each: each.to(device)),
            side=side,
        )

    def _views(self, step: Plan, places: slice | Tensor) -> tuple[Tensor, Tensor]:
        """Returns the images at some places of the global batch, and their labels."""
        there = places.to(step.rows.device) if isinstance(places, Tensor) else places
        pixels, labels = self.images.take(step.rows[there])
        if step.draw is None:
            return plain_view(pixels, size=step.side, normalize=self.normalize), labels
        draw = {name: drawn[places] for name, drawn in step.draw.items()}
        views = augment(pixels, draw, size=self.size, normalize=self.normalize)
        return scaled(views, size=step.side), labels
