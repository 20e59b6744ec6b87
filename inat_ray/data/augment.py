"""Augmentation and normalisation of whole batches on the device.

What is random in an epoch is drawn for all its images at once, on the CPU, from (seed, epoch); a
rank takes its slice. So a seed gives the same pixels on any number of workers and on any
device. What is done to a batch depends on the configuration, never on the values that were drawn:
nothing here waits for the device, and a step can be captured as a CUDA graph.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from inat_ray.config.experiment import AugmentConfig

LUMA = (0.299, 0.587, 0.114)
"""Grey of a colour, ITU-R BT.601."""

ERASED_AREA = (0.02, 0.25)
"""Random erasing: share of the image, as in Zhong et al. (2020), milder at the top."""


class TensorFields:
    """A dataclass of tensors; None, or another such dataclass, may stand in the place of one."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same with each tensor changed."""
        changed = {}
        for name, value in self._values():
            is_tensor = isinstance(value, Tensor)
            changed[name] = change(value) if is_tensor else value and value.map(change)
        return type(self)(**changed)

    def tensors(self) -> list[Tensor]:
        """Every tensor, in the order of the fields."""
        found: list[Tensor] = []
        for _, value in self._values():
            if value is not None:
                found += [value] if isinstance(value, Tensor) else value.tensors()
        return found

    def _values(self) -> list[tuple[str, Any]]:
        return [(field.name, getattr(self, field.name)) for field in fields(cast("Any", self))]


@dataclass(frozen=True)
class Draw(TensorFields):
    """What is random about each of n images; None for what the configuration leaves out."""

    maps: Tensor
    """(n, 4): scale x, scale y, shift x, shift y, from output to input coordinates in [-1, 1]: crop
    and flip."""
    color: Tensor | None
    """(n, 3): factors of brightness, contrast and saturation."""
    erased: Tensor | None
    """(n, 4): left, top, right, bottom in [0, 1]; an empty box erases nothing."""


@dataclass(frozen=True)
class Mix(TensorFields):
    """Mixup (Zhang et al., 2018) or cutmix (Yun et al., 2019) of batches with a shuffled self.

    One for each of some steps, or without the first axis for one step.
    """

    partners: Tensor
    """(steps, b) rows of the same batch."""
    share: Tensor
    """(steps,): of the image itself; its label's weight."""
    box: Tensor
    """(steps, 4): left, top, right, bottom in [0, 1] that come from the partner; mixup: empty."""
    outside: Tensor
    """(steps,): weight of the image itself outside the box; 1 for cutmix."""


def generator(*key: int) -> torch.Generator:
    """A CPU generator whose numbers depend on the key alone."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(seed >> 1)


def draw_augmentation(config: AugmentConfig, count: int, rng: torch.Generator) -> Draw:
    """Draws for `count` images."""
    return Draw(
        maps=_crops_and_flips(config, count, rng),
        color=_color_factors(config, count, rng),
        erased=_boxes(config.erase, count, rng) if config.erase else None,
    )


def draw_mix(config: AugmentConfig, *, steps: int, count: int, rng: torch.Generator) -> Mix | None:
    """A mix for each of some batches of `count` images; None where neither kind is on."""
    if not config.mixup and not config.cutmix:
        return None
    chance = float(bool(config.cutmix)) / (1 + bool(config.mixup and config.cutmix))
    is_cutmix = torch.rand(steps, generator=rng) < chance
    share = _beta(torch.where(is_cutmix, config.cutmix, config.mixup), rng)
    half = torch.where(is_cutmix, (1 - share).sqrt() / 2, 0.0)
    box = _box(torch.rand(2, steps, generator=rng), half)
    area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    return Mix(
        partners=torch.rand(steps, count, generator=rng).argsort(dim=1),
        share=torch.where(is_cutmix, 1 - area, share),
        box=box,
        outside=torch.where(is_cutmix, 1.0, share),
    )


def augment(images: Tensor, draw: Draw, *, size: int, normalize: "Normalize") -> Tensor:
    """(b, 3, S, S) uint8 to (b, 3, size, size), cropped, flipped, jittered and normalised.

    Crop, flip and scaling are one bilinear resampling. From a pack of 1.25 x size it leaves
    out at most every fifth pixel, too little for aliasing to show.
    """
    draw = draw.map(lambda drawn: drawn.to(images.device, non_blocking=True))
    grid = _grid(draw.maps, size)
    views = F.grid_sample(_as_float(images), grid, padding_mode="reflection", align_corners=False)
    views = normalize(views if draw.color is None else _jitter(views, draw.color))
    if draw.erased is None:
        return views
    # After normalisation, so that what is erased is the mean of the data: zero.
    return views.masked_fill(_inside(draw.erased, size)[:, None], 0.0)


def plain_view(images: Tensor, *, size: int, normalize: "Normalize") -> Tensor:
    """(b, 3, S, S) uint8 to (b, 3, size, size), normalised: the whole square, scaled."""
    pixels = _as_float(images)
    if pixels.shape[-1] != size:
        pixels = F.interpolate(
            pixels, size=(size, size), mode="bilinear", antialias=True, align_corners=False
        )
    return normalize(pixels)


def apply_mix(images: Tensor, partners: Tensor, mix: Mix) -> Tensor:
    """Mixes augmented images (b, 3, s, s) with those of their partners, row by row; one step's."""
    inside = _inside(mix.box[None], images.shape[-1])
    return torch.lerp(partners, images, mix.outside * ~inside)


class Normalize:
    """Subtracts the mean and divides by the standard deviation, by channel."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        deviation = torch.tensor(std, device=device)
        self.scale = (1 / deviation).view(1, 3, 1, 1)
        self.shift = (-torch.tensor(mean, device=device) / deviation).view(1, 3, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        return torch.addcmul(self.shift, images, self.scale)


def _as_float(images: Tensor) -> Tensor:
    return images.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def _crops_and_flips(config: AugmentConfig, count: int, rng: torch.Generator) -> Tensor:
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


def _color_factors(config: AugmentConfig, count: int, rng: torch.Generator) -> Tensor | None:
    strengths = (config.brightness, config.contrast, config.saturation)
    if not any(strengths):
        return None
    return torch.stack([_uniform(1 - s, 1 + s, count, rng) for s in strengths], dim=1)


def _boxes(probability: float, count: int, rng: torch.Generator) -> Tensor:
    half = _uniform(*ERASED_AREA, count, rng).sqrt() / 2
    centers = torch.rand(2, count, generator=rng)
    chosen = torch.rand(count, generator=rng) < probability
    return _box(centers, torch.where(chosen, half, 0.0))


def _box(centers: Tensor, half: Tensor) -> Tensor:
    """(2, n) and half sides (n,) to (n, 4): left, top, right, bottom, within the image."""
    x, y = centers
    return torch.stack([x - half, y - half, x + half, y + half], dim=1).clamp(0, 1)


def _grid(maps: Tensor, size: int) -> Tensor:
    """(b, size, size, 2): where each pixel of the views lies in its image, x before y.

    What `affine_grid` would give: crops and flips keep to the axes, so a row of places serves
    every row of pixels, and nothing is multiplied under TF32.
    """
    places = (2 * torch.arange(size, device=maps.device) + 1) / size - 1
    x, y = (torch.addcmul(maps[:, i + 2, None], maps[:, i, None], places) for i in (0, 1))
    shape = (len(maps), size, size)
    return torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], dim=-1)


def _jitter(images: Tensor, color: Tensor) -> Tensor:
    """Brightness, then contrast about each image's mean grey, then saturation."""
    brightness, contrast, saturation = color.T[:, :, None, None, None]
    images = images * brightness
    red, green, blue = images.split(1, dim=1)
    grey = red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]
    mean = grey.mean(dim=(2, 3), keepdim=True)
    images, grey = torch.lerp(mean, images, contrast), torch.lerp(mean, grey, contrast)
    return torch.lerp(grey, images, saturation).clamp_(0, 1)


def _inside(boxes: Tensor, side: int) -> Tensor:
    """(b, side, side): whether a pixel's middle lies in its image's box (b, 4)."""
    edges = (boxes * side)[:, :, None]
    places = torch.arange(side, device=boxes.device) + 0.5
    columns = (places >= edges[:, 0]) & (places < edges[:, 2])
    rows = (places >= edges[:, 1]) & (places < edges[:, 3])
    return rows[:, :, None] & columns[:, None, :]


def _uniform(low: float, high: float, count: int, rng: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=rng)


def _beta(alpha: Tensor, rng: torch.Generator) -> Tensor:
    """Beta(alpha, alpha), as X / (X + Y) of two Gamma(alpha) draws; a half where both are zero."""
    x, y = torch._standard_gamma(alpha.expand(2, -1), generator=rng)
    return torch.where(x + y > 0, x / (x + y), 0.5)
