"""The split: by class, from names and a seed, copies on one side."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data.pack import Pack
from inat_ray.data.split import SUBSETS, Split, SubsetName, split_pack


def pack_of(images: Sequence[tuple[str, str]], *, roles: Sequence[str] = ()) -> Pack:
    """A pack of (name "class/file", digest) pairs, without pixels worth looking at."""
    classes = sorted({name.split("/")[0] for name, _ in images})
    count = len(images)
    return Pack(
        path=Path("none.pack"),
        images=np.zeros((count, 1, 1, 3), dtype=np.uint8),
        labels=np.array([classes.index(name.split("/")[0]) for name, _ in images]),
        names=[name for name, _ in images],
        roles=list(roles) or [""] * count,
        digests=[digest or name for name, digest in images],
        channel_sums=np.zeros((count, 3)),
        channel_square_sums=np.zeros((count, 3)),
        classes=classes,
        quarantined=[],
    )


def plain(**counts: int) -> Pack:
    """Different images, so many a class."""
    return pack_of(
        [(f"{name}/{i:03d}", "") for name, count in counts.items() for i in range(count)]
    )


def members(split: Split, pack: Pack, subset: SubsetName) -> set[str]:
    return {pack.names[i] for i in getattr(split, subset)}


def sizes(split: Split, pack: Pack, subset: SubsetName) -> dict[str, int]:
    return dict(Counter(name.split("/")[0] for name in members(split, pack, subset)))


def photographs_on_two_sides(split: Split, pack: Pack) -> set[str]:
    sides = Counter(d for name in SUBSETS for d in {pack.digests[i] for i in getattr(split, name)})
    return {digest for digest, count in sides.items() if count > 1}


CONFIG = DataConfig(validation_fraction=0.25, test_fraction=0.2)


def test_each_class_is_split_by_the_fractions() -> None:
    pack = plain(ash=100, oak=50)
    split = split_pack(pack, CONFIG)
    assert sizes(split, pack, "test") == {"ash": 20, "oak": 10}
    assert sizes(split, pack, "validation") == {"ash": 20, "oak": 10}
    assert sizes(split, pack, "train") == {"ash": 60, "oak": 30}
    assert split.duplicates == ()


def test_the_subsets_share_no_image_and_ascend() -> None:
    split = split_pack(plain(ash=31, oak=17), CONFIG)
    together = np.concatenate([split.train, split.validation, split.test])
    assert sorted(together) == list(range(48))
    for name in SUBSETS:
        assert (np.diff(getattr(split, name)) > 0).all()
        assert getattr(split, name).dtype == np.int64


def test_the_order_of_the_images_does_not_matter() -> None:
    pack = plain(ash=40, oak=40)
    turned = pack_of([(name, "") for name in reversed(pack.names)])
    for name in SUBSETS:
        assert members(split_pack(pack, CONFIG), pack, name) == members(
            split_pack(turned, CONFIG), turned, name
        )


def test_it_is_the_same_on_every_machine() -> None:
    """The least of `printf 42:ash/000 | sha256sum` and so on."""
    pack = plain(ash=5, oak=5)
    split = split_pack(pack, DataConfig(split_seed=42))
    assert members(split, pack, "test") == {"ash/001", "oak/001"}


def test_another_seed_splits_otherwise() -> None:
    pack = plain(ash=40, oak=40)
    other = CONFIG.model_copy(update={"split_seed": 43})
    assert split_pack(pack, CONFIG).test.tolist() != split_pack(pack, other).test.tolist()


def test_other_classes_do_not_change_a_class() -> None:
    alone, among = plain(ash=40, oak=40), plain(ash=40, elm=7, oak=40, yew=90)
    for name in SUBSETS:
        found = members(split_pack(among, CONFIG), among, name)
        assert members(split_pack(alone, CONFIG), alone, name) == {
            image for image in found if image.startswith(("ash", "oak"))
        }


def test_the_parts_of_a_layout_are_kept() -> None:
    roles = ["train", "validation", "test", "train"] * 10
    pack = replace(plain(ash=20, oak=20), roles=roles)
    split = split_pack(pack, CONFIG)
    for name in SUBSETS:
        assert getattr(split, name).tolist() == [i for i, role in enumerate(roles) if role == name]


def test_validation_is_split_off_from_train_where_the_layout_has_a_test() -> None:
    roles = (["train"] * 40 + ["test"] * 10) * 2
    pack = replace(plain(ash=50, oak=50), roles=roles)
    split = split_pack(pack, CONFIG)
    assert split.test.tolist() == [i for i, role in enumerate(roles) if role == "test"]
    assert sizes(split, pack, "validation") == {"ash": 10, "oak": 10}


def test_copies_go_together_and_the_fractions_hold() -> None:
    """Forty images of twenty photographs, each there twice."""
    images = [(f"{name}/{i:02d}", f"{name}{i // 2}") for name in ("ash", "oak") for i in range(40)]
    pack = pack_of(images)
    split = split_pack(pack, CONFIG)
    assert photographs_on_two_sides(split, pack) == set()
    assert sizes(split, pack, "test") == {"ash": 8, "oak": 8}
    assert sizes(split, pack, "validation") == {"ash": 8, "oak": 8}


def test_copies_are_named_where_they_moved() -> None:
    pack = plain(ash=10, oak=10)
    split = split_pack(pack, CONFIG)
    inside, outside = pack.names[split.test[0]], pack.names[split.train[0]]
    together = [pack.names[i] for i in split.train[:2]]

    copied = pack_of([(n, "same" if n in (inside, outside) else "") for n in pack.names])
    moved = split_pack(copied, CONFIG)
    sides = {name for name in SUBSETS if {inside, outside} & members(moved, copied, name)}
    assert len(sides) == 1
    assert set(moved.duplicates) & {inside, outside}

    untouched = pack_of([(n, "same" if n in together else "") for n in pack.names])
    assert split_pack(untouched, CONFIG).duplicates == ()


def test_a_copy_in_a_given_test_set_leaves_the_training_images() -> None:
    images = [(f"{name}/{i}", "") for name in ("ash", "oak") for i in range(10)]
    roles = (["train"] * 6 + ["validation"] * 2 + ["test"] * 2) * 2
    images[0] = ("ash/0", "in test")
    images[9] = ("ash/9", "in test")
    images[1] = ("ash/1", "in validation")
    images[7] = ("ash/7", "in validation")
    split = split_pack(pack_of(images, roles=roles), CONFIG)
    assert split.duplicates == ("ash/0", "ash/1")
    assert split.train.tolist() == [2, 3, 4, 5, 10, 11, 12, 13, 14, 15]
    assert split.validation.tolist() == [6, 7, 16, 17]
    assert split.test.tolist() == [8, 9, 18, 19]


def test_copies_under_two_labels_do_not_stand_on_both_sides() -> None:
    """The classes are split one by one, so each copy may land anywhere."""
    images = [(f"{name}/{i}", f"{i}") for name in ("ash", "oak") for i in range(40)]
    pack = pack_of(images)
    split = split_pack(pack, CONFIG)
    assert photographs_on_two_sides(split, pack) == set()
    left_out = set(range(80)) - {i for name in SUBSETS for i in getattr(split, name)}
    assert left_out
    assert {pack.names[i] for i in left_out} <= set(split.duplicates)


@pytest.mark.parametrize("count", [1, 2])
def test_a_class_that_is_too_small_is_named_with_its_count(count: int) -> None:
    with pytest.raises(UserError, match=f"class elm has {count} images, .* at least one"):
        split_pack(plain(ash=20, elm=count), CONFIG)


def test_three_images_are_enough() -> None:
    pack = plain(ash=20, elm=3)
    split = split_pack(pack, CONFIG)
    assert [sizes(split, pack, name)["elm"] for name in SUBSETS] == [1, 1, 1]


def test_a_class_of_nothing_but_copies_is_refused() -> None:
    images = [(f"ash/{i}", "") for i in range(20)] + [(f"elm/{i}", "same") for i in range(20)]
    with pytest.raises(UserError, match="class elm has 20 images, which leaves 20 for train, 0"):
        split_pack(pack_of(images), CONFIG)


class CountedLabels(np.ndarray):
    """Labels that count how often one is looked at."""

    looks = 0

    def __getitem__(self, key):
        type(self).looks += 1
        return super().__getitem__(key)


def test_many_classes_cost_no_more_looks_at_an_image_than_few() -> None:
    pack = plain(**{f"class{number}": 5 for number in range(100)})
    pack = replace(pack, labels=pack.labels.view(CountedLabels))
    split_pack(pack, CONFIG)
    assert CountedLabels.looks < 10 * len(pack.labels)


def test_it_is_written_by_name_and_read_back(tmp_path: Path) -> None:
    pack = plain(ash=20, oak=20)
    split = replace(split_pack(pack, CONFIG), duplicates=("ash/001",))
    split.write(tmp_path / "split.json", pack)
    turned = pack_of([(name, "") for name in reversed(pack.names)])
    again = Split.read(tmp_path / "split.json", turned)
    for name in SUBSETS:
        assert members(again, turned, name) == members(split, pack, name)
    assert again.duplicates == ("ash/001",)


def test_a_split_whose_writing_is_cut_off_is_not_there(tmp_path, monkeypatch) -> None:
    def cut_off(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:10])
        raise KeyboardInterrupt

    pack = plain(ash=20, oak=20)
    monkeypatch.setattr(Path, "write_bytes", cut_off)
    with pytest.raises(KeyboardInterrupt):
        split_pack(pack, CONFIG).write(tmp_path / "split.json", pack)
    assert list(tmp_path.iterdir()) == []


def test_a_split_of_other_data_is_refused(tmp_path: Path) -> None:
    pack = plain(ash=20, oak=20)
    split_pack(pack, CONFIG).write(tmp_path / "split.json", pack)
    with pytest.raises(UserError, match=r"10 of its images are not in the data, oak/\d+ for one"):
        Split.read(tmp_path / "split.json", plain(ash=20, oak=10))


def test_a_share_takes_as_much_of_every_class_and_the_whole_test_set() -> None:
    pack = plain(ash=100, oak=50)
    whole = split_pack(pack, CONFIG)
    half = split_pack(pack, CONFIG.model_copy(update={"share": 0.5}))
    assert sizes(half, pack, "train") == {"ash": 30, "oak": 15}
    assert sizes(half, pack, "validation") == {"ash": 10, "oak": 5}
    assert half.test.tolist() == whole.test.tolist()
    assert members(half, pack, "train") < members(whole, pack, "train")
    assert half.duplicates == ()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"train": []}', '{"train": 1, "test": "a"}', "\xff"]
)
def test_a_split_that_is_damaged_is_told(tmp_path, content):
    (tmp_path / "split.json").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=r"split\.json: cannot be read .*split anew without it"):
        Split.read(tmp_path / "split.json", plain(ash=20, oak=10))
