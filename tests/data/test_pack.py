"""The pack: when it is built, by whom, and how it is opened."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data import pack as pack_module
from inat_ray.data.pack import Pack, open_pack, pack_name

from .conftest import WriteImages, small_folder


def test_the_images_are_mapped_and_cannot_be_changed(
    write_images: WriteImages, config: DataConfig
) -> None:
    small_folder(write_images)
    pack = open_pack(config)
    assert not pack.images.flags.writeable
    assert not pack.images.flags.owndata
    if sys.platform == "linux":
        assert str(pack.path) in Path("/proc/self/maps").read_text()


def test_it_is_built_once_and_opened_by_its_path(
    write_images: WriteImages, config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_folder(write_images)
    built = open_pack(config)
    monkeypatch.setattr(pack_module, "build_pack", None)
    again = open_pack(config)
    assert again.path == built.path
    assert (Pack.open(built.path).images == built.images).all()
    assert Pack.open(built.path).names == built.names


@pytest.mark.parametrize("change", [{"image_size": 40}, {"pack_size": 64}, {"fit": "squash"}])
def test_other_options_make_another_pack(
    change: dict[str, object], write_images: WriteImages, config: DataConfig
) -> None:
    small_folder(write_images)
    other = DataConfig(**(config.model_dump() | change))
    assert open_pack(other).path != open_pack(config).path
    assert open_pack(other).images.shape[1] == other.pack_side


def test_a_changed_file_makes_another_pack(
    write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    small_folder(write_images)
    before = open_pack(config)
    Image.new("RGB", (50, 50), "red").save(folder / "ash" / "0.png")
    after = open_pack(config)
    assert after.path != before.path
    assert after.images[0, 0, 0].tolist() == [255, 0, 0]


def test_the_limit_on_bad_images_holds_for_a_pack_that_exists(
    write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    small_folder(write_images)
    (folder / "oak" / "2.png").write_bytes(b"")
    open_pack(config.model_copy(update={"max_bad_fraction": 0.5}))
    with pytest.raises(UserError, match="1 of 7 images cannot be read"):
        open_pack(config)


def test_a_read_only_data_folder_is_enough(
    write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    small_folder(write_images)
    paths = [folder, *folder.rglob("*")]
    before = sorted(folder.rglob("*"))
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert len(open_pack(config).names) == 7
    finally:
        for path in paths:
            path.chmod(0o755)
    assert sorted(folder.rglob("*")) == before  # holds for root too, whom no mode stops


def test_the_cache_may_lie_in_the_home_folder(
    write_images: WriteImages, config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_folder(write_images)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    pack = open_pack(config.model_copy(update={"cache": "~/packs of mine"}))
    assert pack.path.is_relative_to(tmp_path / "home" / "packs of mine")


def test_a_cache_that_cannot_be_made_is_named(
    write_images: WriteImages, config: DataConfig, tmp_path: Path
) -> None:
    small_folder(write_images)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"data\.cache: .*file/cache: cannot be made"):
        open_pack(config.model_copy(update={"cache": str(tmp_path / "file" / "cache")}))


COUNTED_BUILD = """
import os, sys, time
from pathlib import Path
from inat_ray.config.experiment import DataConfig
from inat_ray.data import pack

folder, build = Path(sys.argv[2]), pack.build_pack

def counted(*args, **options):
    (folder / f"built-{os.getpid()}").touch()
    while len(list(folder.glob("asks-*"))) < 2:
        time.sleep(0.01)
    time.sleep(0.2)  # time enough for the other to come to the lock
    build(*args, **options)

pack.build_pack = counted
(folder / f"asks-{os.getpid()}").touch()
assert len(pack.open_pack(DataConfig.model_validate_json(sys.argv[1])).names) == 7
"""


def test_of_two_processes_one_builds_and_both_get_the_pack(
    write_images: WriteImages, config: DataConfig, tmp_path: Path
) -> None:
    small_folder(write_images)
    line = [sys.executable, "-c", COUNTED_BUILD, config.model_dump_json(), str(tmp_path)]
    processes = [subprocess.Popen(line) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert len(list(tmp_path.glob("built-*"))) == 1


def test_the_demo_is_a_pack_like_any_other(config: DataConfig) -> None:
    demo = config.model_copy(update={"source": "demo", "demo_images_per_class": 10})
    pack = open_pack(demo)
    assert pack.images.shape == (100, 40, 40, 3)
    assert len(pack.classes) == 10
    assert pack.roles.count("test") == 20
    assert open_pack(demo).path == pack.path


def test_the_name_of_a_pack_is_known_before_it_is_built(
    write_images: WriteImages, config: DataConfig
) -> None:
    small_folder(write_images)
    name = pack_name(config)
    assert not Path(config.cache).exists()
    assert open_pack(config).path.name == name


def test_nothing_is_downloaded_to_name_a_pack(config: DataConfig) -> None:
    with pytest.raises(UserError, match="is not downloaded"):
        pack_name(config.model_copy(update={"source": "inaturalist-12k"}))
    assert not Path(config.cache).exists()


def test_neither_building_nor_opening_waits_for_pandas(
    write_images: WriteImages, config: DataConfig
) -> None:
    small_folder(write_images)
    code = (
        "import importlib.util, sys\n"
        "from inat_ray.config.experiment import DataConfig\n"
        "from inat_ray.data.pack import open_pack\n"
        "open_pack(DataConfig.model_validate_json(sys.argv[1]))\n"
        "assert importlib.util.find_spec('pandas')\n"
        "assert 'pandas' not in sys.modules"
    )
    for _ in ("built", "opened"):
        subprocess.run([sys.executable, "-c", code, config.model_dump_json()], check=True)
