"""What is no photograph is counted by why it is ignored."""

from collections import Counter
from pathlib import Path

import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data import walk
from inat_ray.data.sources import open_source
from inat_ray.data.walk import images_below, told

from .conftest import WriteImages


def test_each_reason_is_counted(
    write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    for name in ("ash", "oak", "oak/@eaDir/0.png", "#recycle", "../elsewhere"):
        write_images(name, 2)
    for name in ("1.psd", "2.PSD", "notes", ".DS_Store", "deep.tar.gz"):
        (folder / "oak" / name).write_text("")
    (folder / "oak" / "link").symlink_to(folder.parent / "elsewhere")
    (folder / "labels.csv").write_text("")
    (folder / "stray.png").write_text("")
    source = open_source(config)
    assert source.classes == ["ash", "oak"]
    assert len(source.items) == 4
    assert source.passed_over == {
        ".psd": 2,
        ".gz": 1,
        ".csv": 1,
        "hidden": 1,
        "linked folder": 1,
        "thumbnail or system folder": 2,
        "without extension": 1,
        "photographs beside the class folders": 1,
    }


def test_formats_that_are_not_read_here_are_named_with_their_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "EXTENSIONS", walk.EXTENSIONS - {".heic", ".avif"})
    for name in ("a.HEIC", "b.heic", "c.avif"):
        (tmp_path / name).write_text("")
    counts: walk.PassedOver = Counter()
    assert list(images_below(tmp_path, counts)) == []
    assert told(counts) == (
        "2 .heic (`pip install pillow-heif` to read them),"
        " 1 .avif (Pillow 11.3 or newer reads them)"
    )


def test_a_class_without_an_image_says_what_it_holds(
    write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    write_images("ash", 1)
    write_images("oak", 1)
    (folder / "elm").mkdir()
    for number in range(20):
        (folder / "elm" / f"{number}.psd").write_text("")
    with pytest.raises(UserError, match=r"no images in elm; ignored there: 20 \.psd;"):
        open_source(config)


def test_a_class_that_another_part_writes_otherwise_can_be_told_from_it(
    write_images: WriteImages, config: DataConfig
) -> None:
    for name in ("train/ash", "train/caf\u00e9", "val/ash", "val/cafe\u0301"):
        write_images(name, 1)
    with pytest.raises(UserError, match=r"train: has no class folder 'cafe\\u0301'"):
        open_source(config)
