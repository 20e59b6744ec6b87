"""Parts are taken for what they are, or asked about; classes stay classes."""

from pathlib import Path

import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data.sources import Source, open_source

from .conftest import WriteImages


def written(write_images: WriteImages, *folders: str) -> None:
    for folder in folders:
        write_images(folder, 1)


def in_each(*parts: str) -> list[str]:
    return [f"{part}/{name}" for part in parts for name in ("ash", "oak")]


def roles(source: Source) -> dict[str, int]:
    """Role -> images."""
    found = [item.role for item in source.items]
    return {role: found.count(role) for role in found}


def refusal(config: DataConfig, **settings: str) -> str:
    with pytest.raises(UserError) as error:
        open_source(config.model_copy(update=settings))
    return str(error.value)


@pytest.mark.parametrize(
    ("training", "test"),
    [
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("training_set/training_set", "test_set/test_set"),
        ("images_train", "images_test"),
        ("train_images", "test_images"),
        ("Training", "Testing"),
        ("TRAIN", "TEST"),
        ("trainingSet/trainingSet", "testSet/testSet"),
        ("trainset", "testset"),
        ("train2017", "val2017"),
        ("Train Data", "Test Data"),
        ("fruits-train", "fruits-test"),
        ("train/train", "test/test"),
        ("archive/data/train", "archive/data/valid"),
    ],
)
def test_parts_are_known_by_the_words_in_their_names(
    training: str, test: str, write_images: WriteImages, config: DataConfig
) -> None:
    written(write_images, *in_each(training, test))
    source = open_source(config)
    assert source.classes == ["ash", "oak"]
    assert roles(source) == {"train": 2, "test": 2}
    assert source.parts["train"].endswith(training)
    assert source.items[0].name == "train/ash/0.png"


def test_three_parts_with_additions_to_their_names_are_used_as_given(
    write_images: WriteImages, config: DataConfig
) -> None:
    written(write_images, *in_each("dogs-train", "dogs-val", "dogs-test"))
    assert roles(open_source(config)) == {"train": 2, "test": 2, "validation": 2}


def test_a_part_without_labels_is_passed_over_and_said(
    write_images: WriteImages, config: DataConfig
) -> None:
    written(write_images, *in_each("seg_train/seg_train", "seg_test/seg_test"))
    write_images("seg_pred/seg_pred", 3)
    source = open_source(config)
    assert source.classes == ["ash", "oak"]
    assert source.passed_over == {"in seg_pred/ (not used)": 3}


@pytest.mark.parametrize("unlabeled", ["test1", "test", "test/test", "test/unknown", "Test Set"])
def test_a_test_set_without_labels_leaves_everything_to_the_split(
    unlabeled: str, write_images: WriteImages, config: DataConfig
) -> None:
    written(write_images, *in_each("train"))
    write_images(unlabeled, 3)
    source = open_source(config)
    assert source.classes == ["ash", "oak"]
    assert roles(source) == {"": 2}
    assert sum(source.passed_over.values()) == 3


def test_validation_is_the_test_set_where_the_other_has_no_labels(
    write_images: WriteImages, config: DataConfig
) -> None:
    written(write_images, *in_each("train", "val"), "test")
    assert open_source(config).parts == {"train": "train", "test": "val"}


def test_a_training_folder_alone_is_split_like_plain_class_folders(
    write_images: WriteImages, config: DataConfig
) -> None:
    written(write_images, *in_each("train"))
    assert [item.name for item in open_source(config).items] == ["ash/0.png", "oak/0.png"]


@pytest.mark.parametrize(
    "classes",
    [
        ("bus", "train"),
        ("bullet_train", "car", "test_tube"),
        ("bus", "train/2021", "car"),
        ("bus/city", "bus/coach", "train/steam", "train/electric"),
        ("training shoes", "sandals"),
        ("contest", "protest"),
        ("evaluation", "exam"),
        ("fold", "part"),
    ],
)
def test_classes_may_be_called_like_parts(
    classes: tuple[str, ...], write_images: WriteImages, config: DataConfig
) -> None:
    written(write_images, *classes)
    source = open_source(config)
    assert list(source.classes) == sorted({name.split("/")[0] for name in classes})
    assert roles(source).keys() == {""}


@pytest.mark.parametrize(
    "folders",
    [
        in_each("test"),
        in_each("val", "test"),
        in_each("test", "other"),
        in_each("train", "val", "valid"),
        in_each("train", "test", "testing"),
        in_each("train_images", "test_images", "train_masks", "test_masks"),
        in_each("trainA", "testA", "trainB", "testB"),
        in_each("dev", "eval"),
        in_each("train", "holdout"),
        in_each("fold1", "fold2", "fold3"),
        [*in_each("train"), "unlabeled"],
        [*in_each("training_set"), "pictures", "more"],
        ["train", "test1"],
        ["train_images", "test_images"],
        ["train", "bus", "test"],
        ["trainval/ash", "test/ash"],
    ],
)
def test_what_looks_like_parts_and_makes_no_layout_is_asked_about(
    folders: list[str], write_images: WriteImages, config: DataConfig
) -> None:
    written(write_images, *folders)
    message = refusal(config)
    assert "look like parts rather than classes" in message
    assert "data.train, data.validation and data.test" in message


@pytest.mark.parametrize("folders", [["train", "bus", "test"], ["bus", "test"]])
def test_a_person_can_say_that_every_folder_is_a_class(
    folders: list[str], write_images: WriteImages, config: DataConfig
) -> None:
    written(write_images, *folders)
    source = open_source(config.model_copy(update={"train": "."}))
    assert list(source.classes) == sorted(folders)
    assert [item.name for item in source.items] == [f"{name}/0.png" for name in sorted(folders)]


def test_a_person_can_name_each_folder(write_images: WriteImages, config: DataConfig) -> None:
    written(write_images, *in_each("a", "b", "deep/c"))
    update = {"train": "a", "validation": "b", "test": "deep/c"}
    source = open_source(config.model_copy(update=update))
    assert source.parts == {"train": "a", "test": "deep/c", "validation": "b"}
    assert roles(source) == {"train": 2, "test": 2, "validation": 2}


def test_a_named_folder_may_lie_elsewhere(
    write_images: WriteImages, config: DataConfig, tmp_path: Path
) -> None:
    written(write_images, *in_each("train", "../elsewhere"))
    source = open_source(config.model_copy(update={"test": str(tmp_path / "elsewhere")}))
    assert source.parts == {"train": "train", "test": str(tmp_path / "elsewhere")}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"validation": "val"}, {"train": "train", "validation": "val"}),
        ({"test": "held"}, {"train": "train", "test": "held", "validation": "val"}),
        ({"test": "val"}, {"train": "train", "test": "val"}),
        ({"train": "train", "test": "held"}, {"train": "train", "test": "held"}),
        ({"train": "train"}, {}),
    ],
)
def test_what_is_not_named_is_recognized_unless_training_is(
    settings: dict[str, str],
    expected: dict[str, str],
    write_images: WriteImages,
    config: DataConfig,
) -> None:
    written(write_images, *in_each("train", "val", "held"))
    assert open_source(config.model_copy(update=settings)).parts == expected


def test_a_named_folder_among_the_classes_is_none(
    write_images: WriteImages, config: DataConfig
) -> None:
    written(write_images, "ash", "oak", *in_each("kept"))
    source = open_source(config.model_copy(update={"test": "kept"}))
    assert source.classes == ["ash", "oak"]
    assert roles(source) == {"train": 2, "test": 2}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"test": "nowhere"}, "data.test: nowhere: there is no such folder"),
        ({"test": "train/ash/0.png"}, "data.test: train/ash/0.png: there is no such folder"),
        ({"train": "train", "test": "train"}, "lies in the folder of data.train"),
        ({"train": ".", "test": "train/ash"}, "data.test: train/ash: lies in the folder of"),
        ({"train": "train/ash"}, "no class folders"),
        ({"test": "flat"}, "has no class folder ash, oak"),
    ],
)
def test_named_folders_that_cannot_be_used_are_refused(
    settings: dict[str, str], words: str, write_images: WriteImages, config: DataConfig
) -> None:
    written(write_images, *in_each("train", "val"), "flat")
    assert words in refusal(config, **settings)


def test_drawn_pictures_have_no_folders() -> None:
    with pytest.raises(ValueError, match="train names a folder of photographs"):
        DataConfig(train="a")


def test_parts_inside_the_class_folders_are_refused_for_test_images_would_train(
    write_images: WriteImages, config: DataConfig
) -> None:
    written(write_images, "ash/train", "ash/test", "elm/train", "elm/test")
    assert "ash/ holds a folder of training and one of test" in refusal(config)


def test_parts_without_class_folders_are_told_what_is_missing(
    write_images: WriteImages, config: DataConfig
) -> None:
    written(write_images, "train", "val")
    assert "make no layout (train/ holds no class folders)" in refusal(config)
