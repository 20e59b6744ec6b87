"""Which images train, validate and test: by class, from names and a seed alone."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from inat_ray.config.errors import UserError, readable
from inat_ray.config.experiment import DataConfig
from inat_ray.data.names import shown_name
from inat_ray.data.pack import Pack
from inat_ray.storage.disk import replacing

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
    """Names of images that joined their copy in another subset, or were left out for it."""

    def write(self, path: Path, pack: Pack) -> None:
        """The split by names, so that it can be read without the pack."""
        names = {s: [pack.names[i] for i in getattr(self, s)] for s in SUBSETS}
        text = json.dumps(names | {"duplicates": list(self.duplicates)}, indent=1)
        with replacing(path) as partial:
            partial.write_text(text)

    @classmethod
    def read(cls, path: Path, pack: Pack) -> Self:
        """A split that was written. Raises UserError where the pack lacks one of its images."""
        with readable(path, remedy="put back a copy of it; the data are split anew without it"):
            written = dict(_Written.model_validate_json(path.read_bytes(), strict=True))
        place = {name: i for i, name in enumerate(pack.names)}
        if missing := [name for s in SUBSETS for name in written[s] if name not in place]:
            raise UserError(
                f"{path}: {len(missing)} of its images are not in the data, {missing[0]} for one;"
                " the data must be those that the split was made of"
            )
        indices = {s: _ascending(place[name] for name in written[s]) for s in SUBSETS}
        return cls(**indices, duplicates=tuple(written["duplicates"]))


class _Written(BaseModel):
    """A split by names."""

    train: list[str]
    validation: list[str]
    test: list[str]
    duplicates: list[str]


def split_pack(pack: Pack, config: DataConfig) -> Split:
    """Keeps the parts that the layout gave, and splits off by class what it did not.

    A function of the pack's names, labels, roles and digests, of the fractions, of `share` and
    of `split_seed`; the order of the images does not matter. Byte-identical images end in one
    subset: where the sides are ours to choose they go together, where the layout fixed them
    (or they stand in two classes) they leave the training side.

    Raises UserError where a class is too small to be split.
    """
    sides: list[SubsetName] = [role or "train" for role in pack.roles]  # type: ignore[misc]
    joined: set[int] = set()
    if "test" not in pack.roles:
        joined |= _split_off("test", config.test_fraction, sides, pack=pack, config=config)
    if "validation" not in pack.roles:
        fraction = config.validation_fraction
        joined |= _split_off("validation", fraction, sides, pack=pack, config=config)
    left_out = _copies_on_an_earlier_side(pack, sides)
    copies = joined | left_out
    left_out = left_out | _beyond_the_share(pack, sides, config)
    kept = [(i, side) for i, side in enumerate(sides) if i not in left_out]
    split = {s: _ascending(i for i, side in kept if side == s) for s in SUBSETS}
    _check_every_class(split, pack)
    return Split(**split, duplicates=tuple(sorted(pack.names[i] for i in copies)))


def _ascending(indices: Iterable[int]) -> Indices:
    return np.array(sorted(indices), dtype=np.int64)


def _split_off(
    name: SubsetName,
    fraction: float,
    sides: list[SubsetName],
    *,
    pack: Pack,
    config: DataConfig,
) -> set[int]:
    """Moves `fraction` of each class's training images to another side, copies together.

    Returns the images that are where they are only because of a copy.
    """
    joined: set[int] = set()
    by_class: dict[int, list[int]] = defaultdict(list)
    for i, (side, label) in enumerate(zip(sides, pack.labels.tolist(), strict=True)):
        if side == "train":
            by_class[label].append(i)
    for members in by_class.values():
        wanted = max(1, round(fraction * len(members)))
        ranks = {i: _rank(pack.names[i], config.split_seed) for i in members}
        ordered = sorted(members, key=ranks.__getitem__)
        moved = _first_whole_groups(ordered, pack.digests, wanted=wanted)
        alone = set(ordered[:wanted])
        copies = Counter(pack.digests[i] for i in members)
        joined |= {i for i in moved ^ alone if copies[pack.digests[i]] > 1}
        for i in moved:
            sides[i] = name
    return joined


def _rank(name: str, seed: int) -> bytes:
    """An order of the images that is random, yet does not change when images come or go."""
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def _first_whole_groups(ordered: Sequence[int], digests: Sequence[str], *, wanted: int) -> set[int]:
    """Images in this order up to `wanted`; those with the same digest all, or none of them."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i in ordered:
        groups[digests[i]].append(i)
    moved: set[int] = set()
    for group in groups.values():
        if len(moved) + len(group) <= wanted:
            moved |= set(group)
    return moved


def _copies_on_an_earlier_side(pack: Pack, sides: Sequence[SubsetName]) -> set[int]:
    """Images whose bytes stand on a later side too: test goes before validation before train."""
    order = [SUBSETS.index(side) for side in sides]
    last: dict[str, int] = defaultdict(int)
    for digest, place in zip(pack.digests, order, strict=True):
        last[digest] = max(last[digest], place)
    return {i for i, place in enumerate(order) if place < last[pack.digests[i]]}


def _beyond_the_share(pack: Pack, sides: Sequence[SubsetName], config: DataConfig) -> set[int]:
    """Images of training and validation that `share` leaves out: the last by rank in each class."""
    if config.share == 1:
        return set()
    groups: dict[tuple[SubsetName, int], list[int]] = defaultdict(list)
    for i in sorted(range(len(sides)), key=lambda i: _rank(pack.names[i], config.split_seed)):
        if sides[i] != "test":
            groups[sides[i], int(pack.labels[i])].append(i)
    return {
        i for group in groups.values() for i in group[max(1, round(config.share * len(group))) :]
    }


def _check_every_class(split: dict[SubsetName, Indices], pack: Pack) -> None:
    counts = {
        name: np.bincount(pack.labels[indices], minlength=len(pack.classes))
        for name, indices in split.items()
    }
    for label, class_name in enumerate(pack.classes):
        have = {name: int(counts[name][label]) for name in SUBSETS}
        if 0 in have.values():
            total = int((pack.labels == label).sum())
            listed = ", ".join(f"{count} for {name}" for name, count in have.items())
            raise UserError(
                f"data.source: class {shown_name(class_name)} has {total} images, which leaves"
                f" {listed}; train, validation and test need at least one different image each"
            )
