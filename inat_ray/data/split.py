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
from inat_ray.storage.disk import write_text

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
    """Names of images that joined a copy in another subset, or were left out because of one."""

    def write(self, path: Path, pack: Pack) -> None:
        """Writes the split by names, so that it can be read without the pack."""
        names = {s: [pack.names[i] for i in getattr(self, s)] for s in SUBSETS}
        text = json.dumps(names | {"duplicates": list(self.duplicates)}, indent=1)
        write_text(path, text)

    @classmethod
    def read(cls, path: Path, pack: Pack) -> Self:
        """Reads a split that was written. Raises UserError if the pack lacks one of its images."""
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
    subset: if the sides are ours to choose they go together, and if the layout fixed them
    (or they are in two classes) they leave the training side.

    Raises UserError if a class is too small to be split.
    """
    sides: list[SubsetName] = [role or "train" for role in pack.roles]  # type: ignore[misc]
    # Sorted by a hash of its own name, an image keeps its place among the others when images come
    # or go; a permutation drawn from the seed would move them all, and test images would train.
    order = sorted(range(len(sides)), key=lambda i: _rank(pack.names[i], config.split_seed))
    joined: set[int] = set()
    if "test" not in pack.roles:
        joined |= _split_off("test", config.test_fraction, sides, pack=pack, order=order)
    if "validation" not in pack.roles:
        fraction = config.validation_fraction
        joined |= _split_off("validation", fraction, sides, pack=pack, order=order)
    copies = _copies_on_an_earlier_side(pack, sides)
    left_out = copies | _beyond_the_share(config.share, sides, pack=pack, order=order)
    split = {
        name: _ascending(i for i, side in enumerate(sides) if side == name and i not in left_out)
        for name in SUBSETS
    }
    _check_every_class(split, pack)
    return Split(**split, duplicates=tuple(sorted(pack.names[i] for i in joined | copies)))


def _ascending(indices: Iterable[int]) -> Indices:
    return np.array(sorted(indices), dtype=np.int64)


def _rank(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def _split_off(
    name: SubsetName, fraction: float, sides: list[SubsetName], *, pack: Pack, order: Sequence[int]
) -> set[int]:
    """Moves `fraction` of each class's training images to another side, copies together.

    Returns the images that are on their side only because of a copy.
    """
    joined: set[int] = set()
    by_class: dict[int, list[int]] = defaultdict(list)
    labels = pack.labels.tolist()
    for i in order:
        if sides[i] == "train":
            by_class[labels[i]].append(i)
    for members in by_class.values():
        wanted = max(1, round(fraction * len(members)))
        moved = _first_whole_groups(members, pack.digests, wanted=wanted)
        copies = Counter(pack.digests[i] for i in members)
        joined |= {i for i in moved ^ set(members[:wanted]) if copies[pack.digests[i]] > 1}
        for i in moved:
            sides[i] = name
    return joined


def _first_whole_groups(ordered: Sequence[int], digests: Sequence[str], *, wanted: int) -> set[int]:
    """Returns the first images, `wanted` at most; those with the same digest all, or none of them.

    A group that would be too many is passed over for the smaller ones behind it.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for i in ordered:
        groups[digests[i]].append(i)
    moved: set[int] = set()
    for group in groups.values():
        if len(moved) + len(group) <= wanted:
            moved |= set(group)
    return moved


def _copies_on_an_earlier_side(pack: Pack, sides: Sequence[SubsetName]) -> set[int]:
    """Returns images with a copy on a later side: test goes before validation before train.

    Needed after the splitting too, since classes are split one by one: two labels of one
    photograph may land on two sides.
    """
    order = [SUBSETS.index(side) for side in sides]
    last: dict[str, int] = defaultdict(int)
    for digest, place in zip(pack.digests, order, strict=True):
        last[digest] = max(last[digest], place)
    return {i for i, place in enumerate(order) if place < last[pack.digests[i]]}


def _beyond_the_share(
    share: float, sides: Sequence[SubsetName], *, pack: Pack, order: Sequence[int]
) -> set[int]:
    """Returns the last training and validation images of each class, which `share` leaves out.

    Taken from the split of the whole data, so that runs on shares of any size keep one test set
    apart.
    """
    groups: dict[tuple[SubsetName, int], list[int]] = defaultdict(list)
    for i in order:
        if sides[i] != "test":
            groups[sides[i], int(pack.labels[i])].append(i)
    return {i for group in groups.values() for i in group[max(1, round(share * len(group))) :]}


def _check_every_class(split: dict[SubsetName, Indices], pack: Pack) -> None:
    count = len(pack.classes)
    counts = {name: np.bincount(pack.labels[split[name]], minlength=count) for name in SUBSETS}
    for label, class_name in enumerate(pack.classes):
        have = {name: int(counts[name][label]) for name in SUBSETS}
        if 0 in have.values():
            total = int((pack.labels == label).sum())
            found = ", ".join(f"{count} for {name}" for name, count in have.items())
            raise UserError(
                f"data.source: class {shown_name(class_name)} has {total} images, which leaves"
                f" {found}; train, validation and test need at least one different image each"
            )
