"""Which images train, validate and test: by class, from names and a seed alone."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data.pack import Pack

SubsetName = Literal["train", "validation", "test"]
SUBSETS: tuple[SubsetName, ...] = ("train", "validation", "test")
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Indices into the pack, ascending."""

    train: Indices
    validation: Indices
    test: Indices
    duplicates: tuple[str, ...] = ()
    """Names of images whose copy stands in another subset: moved to it, or left out."""

    def write(self, path: Path, pack: Pack) -> None:
        """The split by names, so that it can be read without the pack."""
        names = {s: [pack.names[i] for i in getattr(self, s)] for s in SUBSETS}
        path.write_text(json.dumps(names | {"duplicates": list(self.duplicates)}, indent=1))


def split_pack(pack: Pack, config: DataConfig) -> Split:
    """Keeps the parts that the layout gave, and splits off by class what it did not.

    An image's place depends on its name and `split_seed`, not on its neighbours' order.
    Byte-identical images end in one subset: where both sides are ours to choose they go
    where the first of them goes, where the layout fixed them they leave the training side.

    Raises UserError where a class is too small to be split.
    """
    sides: list[SubsetName] = [role or "train" for role in pack.roles]  # type: ignore[misc]
    if "test" not in pack.roles:
        _split_off("test", config.test_fraction, sides=sides, pack=pack, config=config)
    if "validation" not in pack.roles:
        fraction = config.validation_fraction
        _split_off("validation", fraction, sides=sides, pack=pack, config=config)
    left_out = _copies_on_the_training_side(pack, sides)
    kept = [(i, side) for i, side in enumerate(sides) if i not in left_out]
    split = {s: np.array([i for i, side in kept if side == s], dtype=np.int64) for s in SUBSETS}
    _check_every_class(split, pack)
    return Split(**split, duplicates=tuple(pack.names[i] for i in sorted(left_out)))


def _split_off(
    name: SubsetName,
    fraction: float,
    *,
    sides: list[SubsetName],
    pack: Pack,
    config: DataConfig,
) -> None:
    """Moves `fraction` of each class's training images to another side, copies together."""
    for label in range(len(pack.classes)):
        members = [i for i, side in enumerate(sides) if side == "train" and pack.labels[i] == label]
        wanted = max(1, round(fraction * len(members)))
        groups: dict[str, list[int]] = defaultdict(list)
        for i in members:
            groups[pack.digests[i]].append(i)
        ranked = sorted(groups.values(), key=lambda g: _rank(pack.names, g, config.split_seed))
        moved = 0
        for group in ranked:
            if moved >= wanted:
                break
            for i in group:
                sides[i] = name
            moved += len(group)


def _rank(names: Sequence[str], group: Sequence[int], seed: int) -> bytes:
    return min(hashlib.sha256(f"{seed}:{names[i]}".encode()).digest() for i in group)


def _copies_on_the_training_side(pack: Pack, sides: Sequence[SubsetName]) -> set[int]:
    """Images whose bytes stand on a later side too: test goes before validation before train."""
    last: dict[str, int] = {}
    for digest, side in zip(pack.digests, sides, strict=True):
        last[digest] = max(last.get(digest, 0), SUBSETS.index(side))
    return {
        i
        for i, (digest, side) in enumerate(zip(pack.digests, sides, strict=True))
        if SUBSETS.index(side) < last[digest]
    }


def _check_every_class(split: dict[SubsetName, Indices], pack: Pack) -> None:
    for name, indices in split.items():
        counts = np.bincount(pack.labels[indices], minlength=len(pack.classes))
        for label, count in enumerate(counts):
            if count == 0:
                total = int((pack.labels == label).sum())
                raise UserError(
                    f"data: class {pack.classes[label]} has {total} images, which leaves none"
                    f" for {name}; train, validation and test need at least one each"
                )
