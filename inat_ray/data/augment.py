"""Augmentation and normalization of whole batches on the device.

Adding an augmentation takes two edits: its setting in `config.experiment.AugmentConfig`, and its
entry in ON_PLACES, ON_PIXELS or ON_NORMALIZED here. The schema, the documentation, and what a
sweep may vary follow from the setting; training, the cached features, and CUDA graphs follow from
the entry. They are two files because commands that never load torch read the settings. (A new way
to mix images with each other goes into `draw_mix`, and into `AugmentConfig.mixes`.)

An epoch's random numbers are drawn for all its images at once, on the CPU, from (seed, epoch); a
rank takes its slice. So a seed gives the same pixels on any number of workers and on any
device. What is done to a batch depends on the configuration, never on the values that were drawn:
nothing here waits for the device, and a step can be captured as a CUDA graph.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from inat_ray.config.experiment import AugmentConfig

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in gray, ITU-R BT.601."""

ERASED_AREA = (0.02, 0.25)
"""Random erasing: share of the image, as in Zhong et al. (2020), milder at the top."""

CROP = "crop"

Draw = dict[str, Tensor]
"""Name of an augmentation -> its random numbers for n images, (n, k). One that is off is absent."""


class TensorFields:
    """A dataclass of tensors, dictionaries of tensors, other such dataclasses, and what is none."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Returns the same with each tensor changed."""
        return type(self)(**{name: _changed(value, change) for name, value in vars(self).items()})

    def tensors(self) -> list[Tensor]:
        """Returns every tensor, in the order of the fields."""
        found: list[Tensor] = []

        def collect(tensor: Tensor) -> Tensor:
            found.append(tensor)
            return tensor

        self.map(collect)
        return found


def _changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, dict):
        return {name: change(tensor) for name, tensor in value.items()}
    if isinstance(value, TensorFields):
        return value.map(change)
    return change(value) if isinstance(value, Tensor) else value


@dataclass(frozen=True)
class Mix(TensorFields):
    """Mixup (Zhang et al., 2018) or CutMix (Yun et al., 2019) of batches with a shuffled self.

    One for each of some steps, or without the first axis for one step.
    """

    partners: Tensor
    """(steps, b) rows of the same batch."""
    share: Tensor
    """(steps,): of the image itself; its label's weight."""
    box: Tensor
    """(steps, 4): left, top, right, bottom in [0, 1] that come from the partner; mixup: empty."""
    outside: Tensor
    """(steps,): weight of the image itself outside the box; 1 for CutMix."""


class Normalize:
    """Subtracts the mean and divides by the standard deviation, by channel."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        deviation = torch.tensor(std, device=device)
        self.scale = (1 / deviation).view(1, 3, 1, 1)
        self.shift = (-torch.tensor(mean, device=device) / deviation).view(1, 3, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        return torch.addcmul(self.shift, images, self.scale)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Moves a tensor without a wait, but for Apple's GPUs: there, what comes may be garbage.

    github.com/pytorch/pytorch/issues/139550
    """
    return tensor.to(device, non_blocking=device.type != "mps")


def generator(*key: int) -> torch.Generator:
    """Returns a CPU generator whose numbers depend on the key alone."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(seed >> 1)


def draw_augmentation(config: AugmentConfig, count: int, rng: torch.Generator) -> Draw:
    """Draws what is random about `count` images."""
    draw = {CROP: _crops_and_flips(config, count, rng)}
    for name, augmentation in (ON_PLACES | ON_PIXELS | ON_NORMALIZED).items():
        if (drawn := augmentation.draw(config, count, rng)) is not None:
            draw[name] = drawn
    return draw


def augment(images: Tensor, draw: Draw, *, size: int, normalize: Normalize) -> Tensor:
    """Turns (b, 3, S, S) uint8 into (b, 3, size, size): cropped, flipped, augmented, normalized.

    Crop, flip, rotation and scaling are one bilinear resampling. From a pack of 1.25 x size it
    leaves out at most every fifth pixel, too little for aliasing to show.
    """
    draw = {name: moved(drawn, images.device) for name, drawn in draw.items()}
    grid = _apply(ON_PLACES, _grid(draw[CROP], size), draw)
    views = F.grid_sample(_as_float(images), grid, padding_mode="reflection", align_corners=False)
    views = normalize(_apply(ON_PIXELS, views, draw))
    return _apply(ON_NORMALIZED, views, draw)


def plain_view(images: Tensor, *, size: int, normalize: Normalize) -> Tensor:
    """Turns (b, 3, S, S) uint8 into (b, 3, size, size), normalized: the whole square, scaled."""
    return normalize(scaled(_as_float(images), size=size))


def scaled(images: Tensor, *, size: int) -> Tensor:
    """Scales (b, 3, s, s) to (b, 3, size, size)."""
    if images.shape[-1] == size:
        return images
    return F.interpolate(
        images, size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )


def draw_mix(config: AugmentConfig, *, steps: int, count: int, rng: torch.Generator) -> Mix | None:
    """Draws a mix for each of some batches of `count` images; None if neither kind is on."""
    if not config.mixes:
        return None
    chance = float(bool(config.cutmix)) / (1 + bool(config.mixup and config.cutmix))
    is_cutmix = torch.rand(steps, generator=rng) < chance
    share = _beta(torch.where(is_cutmix, config.cutmix, config.mixup), rng)
    half = torch.where(is_cutmix, (1 - share).sqrt() / 2, 0.0)
    box = _box(torch.rand(2, steps, generator=rng), half)
    area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    return Mix(
        partners=torch.rand(steps, count, generator=rng).argsort(dim=1),
        # A box that the image's edge cut is smaller than drawn, so the share is that of its area.
        share=torch.where(is_cutmix, 1 - area, share),
        box=box,
        outside=torch.where(is_cutmix, 1.0, share),
    )


def apply_mix(images: Tensor, partners: Tensor, mix: Mix) -> Tensor:
    """Mixes the augmented images (b, 3, s, s) of one step with their partners, row by row."""
    inside = _inside(mix.box[None], images.shape[-1])
    return torch.lerp(partners, images, mix.outside * ~inside)


def _as_float(images: Tensor) -> Tensor:
    return images.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def _crops_and_flips(config: AugmentConfig, count: int, rng: torch.Generator) -> Tensor:
    """Draws (n, 4): scale x, scale y, shift x, shift y, from output to input, both in [-1, 1]."""
    area = _uniform(config.crop_scale, 1.0, count, rng)
    log_ratio = math.log(config.crop_ratio)
    ratio = torch.exp(_uniform(-log_ratio, log_ratio, count, rng))
    if config.crop_scale * config.crop_ratio > 1:
        # Made to fit below, a crop could keep less than crop_scale: only ratios that fit, then.
        ratio = ratio.clamp(area, 1 / area)
    # Half sizes, as a share of the image's; a crop that would leave it is made to fit.
    width = (area * ratio).sqrt().clamp(max=1.0)
    height = (area / ratio).sqrt().clamp(max=1.0)
    x = (1 - width) * _uniform(-1.0, 1.0, count, rng)
    y = (1 - height) * _uniform(-1.0, 1.0, count, rng)
    mirrored = torch.rand(count, generator=rng) < (0.5 if config.flip else 0.0)
    scale_x = torch.where(mirrored, -width, width)
    return torch.stack([scale_x, height, x, y], dim=1)


def _grid(maps: Tensor, size: int) -> Tensor:
    """Returns (b, size, size, 2): where each pixel of the views lies in its image, x before y.

    What `affine_grid` would give: crops and flips keep to the axes, so a row of places serves
    every row of pixels, and nothing is multiplied under TF32.
    """
    places = (2 * torch.arange(size, device=maps.device) + 1) / size - 1
    x, y = (torch.addcmul(maps[:, i + 2, None], maps[:, i, None], places) for i in (0, 1))
    shape = (len(maps), size, size)
    return torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], dim=-1)


def _turns(config: AugmentConfig, count: int, rng: torch.Generator) -> Tensor | None:
    """Draws (n, 2): cosine and sine of an angle."""
    if not config.rotate:
        return None
    angles = _uniform(-config.rotate, config.rotate, count, rng).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def _rotate(grid: Tensor, turns: Tensor) -> Tensor:
    """Turns each view's places (b, s, s, 2) about their own middle."""
    middle = grid.mean(dim=(1, 2), keepdim=True)
    x, y = (grid - middle).unbind(dim=-1)
    cosine, sine = turns.T[:, :, None, None]
    return torch.stack([x * cosine - y * sine, x * sine + y * cosine], dim=-1) + middle


def _color_factors(config: AugmentConfig, count: int, rng: torch.Generator) -> Tensor | None:
    strengths = (config.brightness, config.contrast, config.saturation)
    if not any(strengths):
        return None
    return torch.stack([_uniform(1 - s, 1 + s, count, rng) for s in strengths], dim=1)


def _jitter(images: Tensor, factors: Tensor) -> Tensor:
    """Changes brightness, then contrast about each image's mean gray, then saturation."""
    brightness, contrast, saturation = factors.T[:, :, None, None, None]
    images = images * brightness
    red, green, blue = images.split(1, dim=1)
    gray = red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]
    mean = gray.mean(dim=(2, 3), keepdim=True)
    images, gray = torch.lerp(mean, images, contrast), torch.lerp(mean, gray, contrast)
    return torch.lerp(gray, images, saturation).clamp_(0, 1)


def _erased_boxes(config: AugmentConfig, count: int, rng: torch.Generator) -> Tensor | None:
    if not config.erase:
        return None
    half = _uniform(*ERASED_AREA, count, rng).sqrt() / 2
    centers = torch.rand(2, count, generator=rng)
    chosen = torch.rand(count, generator=rng) < config.erase
    return _box(centers, torch.where(chosen, half, 0.0))


def _erase(images: Tensor, boxes: Tensor) -> Tensor:
    return images.masked_fill(_inside(boxes, images.shape[-1])[:, None], 0.0)


class Augmentation(NamedTuple):
    """One way to change images, each by random numbers of its own."""

    draw: Callable[[AugmentConfig, int, torch.Generator], Tensor | None]
    """Draws the numbers of n images, (n, k). Returns None if the configuration turns it off, and
    draws nothing then, so that every earlier seed keeps the numbers of the other augmentations."""
    apply: Callable[[Tensor, Tensor], Tensor]
    """Changes images (b, 3, s, s) or places (b, s, s, 2) by their numbers (b, k), on the device of
    both. It must not look at a value or bring a tensor from the host: either waits for the GPU, and
    ends a capture."""


ON_PLACES = {"rotate": Augmentation(_turns, _rotate)}
"""In this order, on where each pixel of the views lies in its image, in [-1, 1]. Beyond its edge an
image goes on mirrored."""

ON_PIXELS = {"color": Augmentation(_color_factors, _jitter)}
"""In this order, on values from 0 to 1."""

ON_NORMALIZED = {"erase": Augmentation(_erased_boxes, _erase)}
"""In this order, on normalized values, where 0 is the mean of the data."""


def _apply(augmentations: dict[str, Augmentation], images: Tensor, draw: Draw) -> Tensor:
    for name, augmentation in augmentations.items():
        if name in draw:
            images = augmentation.apply(images, draw[name])
    return images


def _box(centers: Tensor, half: Tensor) -> Tensor:
    """Turns (2, n) and half sides (n,) into (n, 4): left, top, right, bottom, within the image."""
    x, y = centers
    return torch.stack([x - half, y - half, x + half, y + half], dim=1).clamp(0, 1)


def _inside(boxes: Tensor, side: int) -> Tensor:
    """Returns (b, side, side): whether a pixel's middle lies in its image's box (b, 4)."""
    edges = (boxes * side)[:, :, None]
    places = torch.arange(side, device=boxes.device) + 0.5
    columns = (places >= edges[:, 0]) & (places < edges[:, 2])
    rows = (places >= edges[:, 1]) & (places < edges[:, 3])
    return rows[:, :, None] & columns[:, None, :]


def _uniform(low: float, high: float, count: int, rng: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=rng)


def _beta(alpha: Tensor, rng: torch.Generator) -> Tensor:
    """Draws from Beta(alpha, alpha): X / (X + Y) of two Gamma draws, a half if both are 0."""
    x, y = torch._standard_gamma(alpha.expand(2, -1), generator=rng)
    return torch.where(x + y > 0, x / (x + y), 0.5)
