"""Augmentation and normalisation of whole batches on the device.

What is random in a step is drawn for the whole global batch, on the CPU, from (seed, epoch,
step); a rank takes its slice. So a seed gives the same pixels on any number of workers and
on any device.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from inat_ray.config.experiment import AugmentConfig

LUMA = (0.299, 0.587, 0.114)
"""Grey of a colour, ITU-R BT.601."""

ERASED_AREA = (0.02, 0.25)
"""Random erasing: share of the image, as in Zhong et al. (2020), milder at the top."""


@dataclass(frozen=True)
class Draw:
    """What is random about each image of a batch of b; tensors on the CPU."""

    matrices: Tensor
    """(b, 2, 3), from output to input coordinates in [-1, 1]: crop and flip."""
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    """(b,) factors."""
    erased: Tensor
    """(b, 4): left, top, right, bottom in [0, 1]; an empty box erases nothing."""

    def __getitem__(self, rows: Tensor) -> "Draw":
        """The draws of some of the images."""
        return Draw(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


@dataclass(frozen=True)
class Mix:
    """Mixup (Zhang et al., 2018) or cutmix (Yun et al., 2019) of a batch with a shuffled self."""

    partners: Tensor
    """(b,) rows of the same batch."""
    share: float
    """Of the image itself; its label's weight."""
    box: tuple[float, float, float, float] | None
    """Cutmix: left, top, right, bottom in [0, 1] that come from the partner; None: mixup."""


def generator(*key: int) -> torch.Generator:
    """A CPU generator whose numbers depend on the key alone."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(seed >> 1)


def draw_augmentation(config: AugmentConfig, count: int, rng: torch.Generator) -> Draw:
    """Draws for `count` images."""
    return Draw(
        matrices=_crops_and_flips(config, count, rng),
        brightness=_factors(config.brightness, count, rng),
        contrast=_factors(config.contrast, count, rng),
        saturation=_factors(config.saturation, count, rng),
        erased=_boxes(config.erase, count, rng),
    )


def draw_mix(config: AugmentConfig, count: int, rng: torch.Generator) -> Mix | None:
    """One mix for a whole batch; None where neither is on."""
    kinds = [alpha for alpha in (config.mixup, config.cutmix) if alpha]
    if not kinds:
        return None
    chosen = int(torch.randint(len(kinds), (1,), generator=rng))
    is_cutmix = not config.mixup or chosen == 1
    share = _beta(kinds[chosen], rng)
    partners = torch.randperm(count, generator=rng)
    if not is_cutmix:
        return Mix(partners=partners, share=share, box=None)
    x, y = torch.rand(2, generator=rng).tolist()
    half = math.sqrt(1 - share) / 2
    box = (max(0, x - half), max(0, y - half), min(1, x + half), min(1, y + half))
    return Mix(partners=partners, share=1 - (box[2] - box[0]) * (box[3] - box[1]), box=box)


def augment(images: Tensor, draw: Draw, *, size: int, normalize: "Normalize") -> Tensor:
    """(b, 3, S, S) uint8 to (b, 3, size, size), cropped, flipped, jittered and normalised.

    Crop, flip and scaling are one bilinear resampling. From a pack of 1.25 x size it leaves
    out at most every fifth pixel, too little for aliasing to show.
    """
    matrices = draw.matrices.to(images.device, non_blocking=True)
    grid = F.affine_grid(matrices, [len(images), 3, size, size], align_corners=False)
    views = F.grid_sample(_as_float(images), grid, padding_mode="reflection", align_corners=False)
    # After normalisation, so that what is erased is the mean of the data: zero.
    return _erase(normalize(_jitter(views, draw)), draw.erased)


def plain_view(images: Tensor, *, size: int, normalize: "Normalize") -> Tensor:
    """(b, 3, S, S) uint8 to (b, 3, size, size), normalised: the whole square, scaled."""
    pixels = _as_float(images)
    if pixels.shape[-1] != size:
        pixels = F.interpolate(
            pixels, size=(size, size), mode="bilinear", antialias=True, align_corners=False
        )
    return normalize(pixels)


def apply_mix(images: Tensor, partners: Tensor, mix: Mix) -> Tensor:
    """Mixes augmented images (b, 3, s, s) with those of their partners, row by row."""
    if mix.box is None:
        return torch.lerp(partners, images, mix.share)
    side = images.shape[-1]
    left, top, right, bottom = (round(edge * side) for edge in mix.box)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = partners[:, :, top:bottom, left:right]
    return mixed


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
    matrices = torch.zeros(count, 2, 3)
    matrices[:, 0, 0] = torch.where(mirrored, -width, width)
    matrices[:, 1, 1] = height
    matrices[:, 0, 2] = x
    matrices[:, 1, 2] = y
    return matrices


def _factors(strength: float, count: int, rng: torch.Generator) -> Tensor:
    return _uniform(1 - strength, 1 + strength, count, rng)


def _boxes(probability: float, count: int, rng: torch.Generator) -> Tensor:
    half = _uniform(*ERASED_AREA, count, rng).sqrt() / 2
    x, y = torch.rand(2, count, generator=rng)
    chosen = torch.rand(count, generator=rng) < probability
    half = torch.where(chosen, half, torch.zeros(()))
    return torch.stack([x - half, y - half, x + half, y + half], dim=1).clamp(0, 1)


def _jitter(images: Tensor, draw: Draw) -> Tensor:
    """Brightness, then contrast about each image's mean grey, then saturation."""
    if _all_one(draw.brightness, draw.contrast, draw.saturation):
        return images
    images = images * _per_image(draw.brightness, images)
    luma = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
    grey = (images * luma).sum(dim=1, keepdim=True)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    contrast = _per_image(draw.contrast, images)
    images, grey = mean + (images - mean) * contrast, mean + (grey - mean) * contrast
    images = grey + (images - grey) * _per_image(draw.saturation, images)
    return images.clamp_(0, 1)


def _erase(images: Tensor, boxes: Tensor) -> Tensor:
    """Sets each image's box to zero."""
    if bool((boxes[:, 0] == boxes[:, 2]).all()):
        return images
    side = images.shape[-1]
    edges = (boxes * side).to(images.device)[:, :, None]
    places = torch.arange(side, device=images.device) + 0.5
    columns = (places >= edges[:, 0]) & (places < edges[:, 2])
    rows = (places >= edges[:, 1]) & (places < edges[:, 3])
    inside = (rows[:, :, None] & columns[:, None, :])[:, None]
    return images.masked_fill(inside, 0.0)


def _all_one(*factors: Tensor) -> bool:
    return all(bool((factor == 1).all()) for factor in factors)


def _per_image(factor: Tensor, images: Tensor) -> Tensor:
    return factor.to(images.device, non_blocking=True).view(-1, 1, 1, 1)


def _uniform(low: float, high: float, count: int, rng: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=rng)


def _beta(alpha: float, rng: torch.Generator) -> float:
    """One draw of Beta(alpha, alpha), as X / (X + Y) of two Gamma(alpha) draws."""
    shape = torch.full((2,), alpha)
    x, y = torch._standard_gamma(shape, generator=rng).tolist()
    return x / (x + y) if x + y else 0.5
