"""Finds photographs that are nearly the same: scaled, compressed again, mirrored, or brighter.

Byte-identical ones are kept on one side of the split already; see `data.split`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from inat_ray.data.dataset import DataSet
from inat_ray.data.progress import tracked
from inat_ray.data.split import SUBSETS, Indices

SIDE = 16
"""Images are compared by how the brightness changes from cell to cell of squares of this side."""

ALIKE = 0.85
"""The correlation of these changes from which two images are near-duplicates.

Among 3,670 photographs of flowers all 11 pairs above it are, by eye, and so are 100 of 100 planted
copies (scaled, compressed again, mirrored, brighter, trimmed by 4 %), but none of 20 trimmed by
10 %; of 4,000 drawn pictures no pair is above it. Brightness itself tells less: a flower in the
middle of a dark ground is like another one there at 0.97."""

BLOCK = 256
"""Images that are compared with all others at once."""


@dataclass(frozen=True)
class Pair:
    """Two images, as indices into the pack; one in training comes first."""

    first: int
    second: int
    correlation: float


def near_duplicates(data: DataSet) -> list[Pair]:
    """Returns the pairs on two sides of the split or in two classes, the most alike first.

    Compares each image with each, also mirrored: 12,000 in seconds, ten times as many in a
    hundred times as long.
    """
    rows = np.concatenate([data.subset(name) for name in SUBSETS])
    side = np.repeat(np.arange(len(SUBSETS)), [len(data.subset(name)) for name in SUBSETS])
    groups = torch.from_numpy(side * len(data.classes) + data.pack.labels[rows])
    found = [
        Pair(int(rows[first]), int(rows[second]), correlation)
        for first, second, correlation in _alike(_squares(data, rows), groups)
    ]
    return sorted(found, key=lambda pair: -pair.correlation)


def _alike(squares: Tensor, groups: Tensor) -> Iterator[tuple[int, int, float]]:
    """Yields the places of two squares (n, s, s) of two groups, and their correlation."""
    plain, mirrored = _changes(squares), _changes(squares.flip(2))
    starts = range(0, len(plain), BLOCK)
    for start in tracked(starts, "comparing images", total=len(starts), unit="blocks"):
        end, others = start + BLOCK, plain[start:].T
        correlations = torch.maximum(plain[start:end] @ others, mirrored[start:end] @ others)
        near = (correlations >= ALIKE) & (groups[start:end, None] != groups[start:])
        for first, second in near.triu(1).nonzero().tolist():
            yield start + first, start + second, float(correlations[first, second])


def _changes(squares: Tensor) -> Tensor:
    """Returns the changes (n, 2 s (s - 1)) between neighbors in squares (n, s, s), scaled so that a
    product of two is their correlation, and 0 for an image of one color, which is like no other."""
    changes = torch.cat([squares.diff(dim=dim).flatten(1) for dim in (1, 2)], dim=1)
    # The square root, since a white frame around two photographs would outweigh what they show.
    changes = changes.sign() * changes.abs().sqrt()
    changes -= changes.mean(dim=1, keepdim=True)
    scaled: Tensor = changes / changes.norm(dim=1, keepdim=True).clamp(min=1.0)
    return scaled


def _squares(data: DataSet, rows: Indices) -> Tensor:
    """Returns the brightness of some images, (n, s, s)."""
    parts = []
    for start in range(0, len(rows), BLOCK):
        pixels = torch.from_numpy(data.pack.images[rows[start : start + BLOCK]])
        parts.append(F.adaptive_avg_pool2d(pixels.float().mean(dim=3), SIDE))
    return torch.cat(parts)
