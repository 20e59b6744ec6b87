"""Folders as people have them, and what is said about those that cannot be used."""

import os
import shutil
from pathlib import Path

import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data.decode import UndecodableError
from inat_ray.data.pack import open_pack
from inat_ray.data.sources import open_source

from .conftest import WriteImages


def names(config: DataConfig) -> list[str]:
    return [item.name for item in open_source(config).items]


def roles(config: DataConfig) -> dict[str, str]:
    """Role by the first part of the name."""
    return {item.name.split("/")[0]: item.role for item in open_source(config).items}


def refusal(config: DataConfig) -> str:
    with pytest.raises(UserError) as error:
        open_source(config)
    return str(error.value)


def test_val_is_the_test_set_where_there_is_no_other(
    write_images: WriteImages, config: DataConfig
) -> None:
    for name in ("train/ash", "train/oak", "val/ash", "val/oak"):
        write_images(name, 1)
    assert names(config) == [
        "train/ash/0.png",
        "train/oak/0.png",
        "test/ash/0.png",
        "test/oak/0.png",
    ]
    assert roles(config) == {"train": "train", "test": "test"}
    assert [item.label for item in open_source(config).items] == [0, 1, 0, 1]
    assert open_source(config).classes == ["ash", "oak"]


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "Val"])
def test_three_parts_are_used_as_given(
    validation: str, write_images: WriteImages, config: DataConfig
) -> None:
    for part in ("train", validation, "test"):
        write_images(f"{part}/ash", 1)
        write_images(f"{part}/oak", 1)
    assert roles(config) == {"train": "train", "validation": "validation", "test": "test"}


def test_train_and_test_leave_the_validation_to_the_split(
    write_images: WriteImages, config: DataConfig
) -> None:
    for name in ("train/ash", "train/oak", "test/ash", "test/oak"):
        write_images(name, 1)
    assert roles(config) == {"train": "train", "test": "test"}


def test_plain_class_folders_have_no_roles(write_images: WriteImages, config: DataConfig) -> None:
    write_images("ash", 2)
    write_images("oak", 1)
    assert names(config) == ["ash/0.png", "ash/1.png", "oak/0.png"]
    assert set(roles(config).values()) == {""}


def test_a_class_may_be_called_train(write_images: WriteImages, config: DataConfig) -> None:
    for name in ("aeroplane", "bus", "train"):
        write_images(name, 1)
    assert open_source(config).classes == ["aeroplane", "bus", "train"]


@pytest.mark.parametrize(
    "layout", [("train/ash", "train/oak", "val/ash", "val/oak"), ("ash", "oak")]
)
def test_a_folder_around_everything_is_looked_through(
    layout: tuple[str, ...], write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    for name in layout:
        write_images(name, 1)
    around = folder.parent / "around"
    around.mkdir()
    (around / ".DS_Store").write_text("stray")
    (around / "__MACOSX").mkdir()
    found = names(config)
    shutil.move(folder, around)
    assert names(config.model_copy(update={"source": str(around)})) == found


def test_stray_files_are_passed_over(
    write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    write_images("ash", 1)
    write_images("oak", 1)
    found = names(config)
    (folder / ".DS_Store").write_text("stray")
    (folder / "labels.csv").write_text("stray")
    (folder / ".hidden").mkdir()
    (folder / "oak" / "Thumbs.db").write_text("stray")
    (folder / "oak" / "._0.png").write_text("stray")
    (folder / "oak" / ".cache").mkdir()
    shutil.copy(folder / "ash" / "0.png", folder / "oak" / ".cache" / "0.png")
    assert names(config) == found


def test_folders_inside_a_class_belong_to_it_and_capital_extensions_count(
    write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    write_images("ash", 1)
    write_images("oak/2021/june", 1)
    shutil.copy(folder / "ash" / "0.png", folder / "oak" / "A.PNG")
    assert names(config) == ["ash/0.png", "oak/2021/june/0.png", "oak/A.PNG"]


def test_linked_images_and_class_folders_are_followed_but_not_circles(
    write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    write_images("ash", 1)
    write_images("../elsewhere", 2)
    (folder / "oak").symlink_to(folder.parent / "elsewhere")
    (folder / "ash" / "linked.png").symlink_to(folder.parent / "elsewhere" / "0.png")
    (folder / "ash" / "circle").symlink_to(folder / "ash")
    assert names(config) == ["ash/0.png", "ash/linked.png", "oak/0.png", "oak/1.png"]


def test_a_name_that_is_no_utf_8_is_written_with_its_bytes(
    write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    write_images("ash", 1)
    write_images("oak", 1)
    try:
        (folder / "oak" / "0.png").rename(os.fsdecode(bytes(folder / "oak" / "caf") + b"\xe9.png"))
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    assert names(config) == ["ash/0.png", "oak/caf\\xe9.png"]
    assert open_pack(config).names == ["ash/0.png", "oak/caf\\xe9.png"]


def test_a_link_to_nowhere_is_an_image_that_cannot_be_read(
    write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    write_images("ash", 1)
    write_images("oak", 1)
    (folder / "oak" / "lost.png").symlink_to(folder / "nowhere.png")
    source = open_source(config)
    assert len(list(source.identity())) == 3
    with pytest.raises(UndecodableError, match="cannot be read: No such file"):
        source.content(2)


def test_the_identity_changes_with_a_file(
    write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    write_images("ash", 1)
    write_images("oak", 1)
    before = list(open_source(config).identity())
    assert list(open_source(config).identity()) == before
    with (folder / "oak" / "0.png").open("ab") as file:
        file.write(b" ")
    assert list(open_source(config).identity()) != before


def test_a_folder_that_is_not_there_is_named(config: DataConfig) -> None:
    gone = config.model_copy(update={"source": "/no/such/folder"})
    assert "/no/such/folder: there is no such folder" in refusal(gone)


def test_a_file_is_no_source(config: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("")
    file = config.model_copy(update={"source": str(tmp_path / "photo.jpg")})
    assert "is a file; a folder is needed" in refusal(file)


def test_an_empty_folder_is_told_what_is_allowed(config: DataConfig) -> None:
    assert "holds no class folders" in refusal(config)
    assert "one folder a class" in refusal(config)


def test_a_single_class_is_not_enough(write_images: WriteImages, config: DataConfig) -> None:
    write_images("ash", 3)
    assert "holds one class, ash; at least two are needed" in refusal(config)


def test_classes_that_differ_between_parts_are_named(
    write_images: WriteImages, config: DataConfig
) -> None:
    for name in ("train/ash", "train/oak", "val/ash", "val/elm"):
        write_images(name, 1)
    assert "train: has no class folder elm" in refusal(config)


def test_a_class_folder_without_images_is_named(
    write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    write_images("ash", 1)
    write_images("oak", 1)
    (folder / "elm").mkdir()
    (folder / "elm" / "photo.psd").write_text("")
    assert "no images in elm" in refusal(config)


def test_a_cache_in_the_folder_of_the_images_is_refused(
    write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    write_images("ash", 1)
    write_images("oak", 1)
    inside = config.model_copy(update={"cache": str(folder / "cache")})
    assert "lies in the folder of the images" in refusal(inside)
