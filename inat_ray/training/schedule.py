"""The learning rate in each step of a training."""

import math

from inat_ray.config.experiment import RecipeConfig

FLOOR = 1e-3
"""A warm-up starts at this share of the peak, so that the first step is not lost; one-cycle ends
there too."""


def learning_rates(recipe: RecipeConfig, epoch: int, *, steps: int) -> list[float]:
    """Returns the rate in each of the `steps` of an epoch, counted from 0."""
    total = recipe.epochs * steps
    first = epoch * steps
    return [recipe.lr * lr_factor(recipe, step, total) for step in range(first, first + steps)]


def lr_factor(recipe: RecipeConfig, step: int, total: int) -> float:
    """Returns the share of the peak learning rate in step `step` of `total`, counted from 0.

    cosine: linear warm-up, then half a cosine to zero (Loshchilov & Hutter, 2017).
    one_cycle: half a cosine up, half a cosine down (Smith & Topin, 2018).
    warmup_stable_decay: linear up, constant, linear to zero (Hu et al., 2024).
    """
    progress = (step + 0.5) / total
    warm_up = recipe.warmup_fraction
    if recipe.schedule == "constant":
        return 1.0
    if progress < warm_up:
        if recipe.schedule == "one_cycle":
            return FLOOR + (1 - FLOOR) * (1 - _half_cosine(progress / warm_up))
        return max(FLOOR, progress / warm_up)
    since = (progress - warm_up) / (1 - warm_up)
    match recipe.schedule:
        case "cosine":
            return _half_cosine(since)
        case "one_cycle":
            return FLOOR + (1 - FLOOR) * _half_cosine(since)
        case "warmup_stable_decay":
            decay = recipe.decay_fraction
            return 1.0 if progress < 1 - decay else (1 - progress) / decay


def _half_cosine(x: float) -> float:
    """Falls from 1 at x = 0 to 0 at x = 1."""
    return 0.5 * (1 + math.cos(math.pi * x))
