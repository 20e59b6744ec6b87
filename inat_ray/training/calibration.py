"""Probabilities that can be taken at their word: temperature scaling (Guo et al. 2017).

A network trained with label smoothing or mixed images is less sure than it could be, one that knows
its training images by heart is surer than it should be. One number, fitted on the validation
images, mends most of either; which class is the likeliest stays as it is.
"""

import math

import torch
from torch import Tensor

from inat_ray.training.ranks import ALONE, Ranks

LEAST = 1e-12
"""A smaller probability counts as this, so that its logarithm is finite."""

SPREAD = 0.5
"""Standard deviation of the temperature's logarithm that is expected before any image is seen: a
few images alone would make it extreme."""

MOST = 2.0
"""The logarithm's bound on either side."""

HALVINGS = 20

ENOUGH = 5_000
"""Images of a rank that are used, evenly spread over all that it has: with thousands of classes,
more would take memory, and a number is fitted well enough by these."""


def calibrated(probabilities: Tensor, temperature: float) -> Tensor:
    """Returns the softmax of the probabilities' logarithms over the temperature, (n, classes).

    Below 1 it makes them surer, above 1 less sure; rows of NaN stay NaN.
    """
    if temperature == 1:
        return probabilities
    return (probabilities.clamp(min=LEAST).log() / temperature).softmax(dim=1)


def fitted_temperature(
    probabilities: Tensor, labels: Tensor, *, device: torch.device, ranks: Ranks = ALONE
) -> float:
    """Returns the temperature with which the labels (n,) are the likeliest, by (n, classes).

    Each of several ranks gives its own images, and has the answer of all; sums over ranks are taken
    on `device`. The loss is convex in the temperature's inverse, so its slope is halved in on.
    """
    used = torch.linspace(0, len(labels) - 1, min(len(labels), ENOUGH)).long()
    probabilities, labels = probabilities[used], labels[used]
    known = probabilities.isfinite().all(dim=1)
    logs, truth = probabilities[known].double().clamp(min=LEAST).log(), labels[known]
    of_truth = logs.gather(1, truth[:, None]).sum()
    low, high = -MOST, MOST
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        inverse = math.exp(-middle)
        expected = ((inverse * logs).softmax(dim=1) * logs).sum()
        slope = (of_truth - expected).float().to(device)
        ranks.add_up(slope)
        if inverse * float(slope) + middle / SPREAD**2 > 0:
            high = middle
        else:
            low = middle
    return math.exp((low + high) / 2)
