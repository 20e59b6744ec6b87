import os
import pickle
import threading
import time
from pathlib import Path

import pytest

from inat_ray.config.errors import UserError
from inat_ray.storage import place as place_module
from inat_ray.storage.place import Place, StorageError, checked_storage


@pytest.fixture(params=["disk", "bucket"])
def folder(request, tmp_path) -> Place:
    """An empty folder of either kind."""
    if request.param == "disk":
        return Place.at(tmp_path / "folder")
    return Place.at(f"{request.getfixturevalue('bucket')}/folder")


def test_what_is_written_is_read_again_whole(folder):
    file = folder / "deep" / "er" / "a b.bin"
    content = os.urandom(3_000_000)
    file.write(content)
    assert file.exists()
    assert file.read() == content
    file.write(b"shorter")
    assert file.read() == b"shorter"
    assert folder.names() == ["deep/er/a b.bin"]


def test_what_is_not_there_is_missed_in_the_same_way_everywhere(folder):
    assert not (folder / "no").exists()
    assert folder.names() == []
    with pytest.raises(FileNotFoundError):
        (folder / "no").read()
    (folder / "no").remove()


def test_a_file_or_a_whole_folder_is_removed(folder):
    for name in ("a/1", "a/2", "ab/3"):
        (folder / name).write(b"x")
    (folder / "a/1").remove()
    assert folder.names() == ["a/2", "ab/3"]
    (folder / "a").remove()
    assert folder.names() == ["ab/3"]
    folder.remove()
    assert folder.names() == []


def test_a_place_travels_as_its_address(folder):
    file = folder / "a"
    file.write(b"x")
    assert pickle.loads(pickle.dumps(file)).read() == b"x"
    assert Place.at(file.address).read() == b"x"
    assert file.last_name == "a"
    assert file.relative_to(folder) == "a"


def test_options_of_an_address_stay_behind_it_and_are_not_shown():
    place = Place("s3://b/runs?region=eu-north-1") / "one" / "log"
    assert place.address == "s3://b/runs/one/log?region=eu-north-1"
    assert str(place) == "s3://b/runs/one/log"


@pytest.mark.parametrize("address", ["ftp://x/y", "s3://", "nonsense://b"])
def test_an_address_that_is_none_is_named(address):
    with pytest.raises(UserError, match=r"resources.storage_path: .*is allowed"):
        Place.at(address)


def test_a_key_in_an_address_is_refused_before_it_is_written_anywhere():
    with pytest.raises(UserError, match="credentials belong into the environment") as refused:
        Place.at("s3://KEY:hush@bucket/runs")
    assert "hush" not in str(refused.value)


def test_a_storage_that_cannot_be_written_to_is_told_at_once(object_store, tmp_path):
    with pytest.raises(UserError, match=r"s3://no-such-bucket/x: cannot be written to.*NO_SUCH"):
        checked_storage("s3://no-such-bucket/x")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written to"):
        checked_storage(str(tmp_path / "file"))


def test_a_storage_that_is_away_for_a_moment_is_waited_for(object_store):
    file = Place.at(f"{object_store.bucket()}/a")
    object_store.stop()
    back = threading.Timer(3.0, object_store.start)
    back.start()
    file.write(b"x")
    back.join()
    assert file.read() == b"x"


@pytest.mark.slow
def test_a_storage_that_stays_away_is_given_up(object_store, monkeypatch):
    monkeypatch.setattr(place_module, "PATIENCE", 0.1)
    file = Place.at(f"{object_store.bucket()}/a")
    object_store.stop()
    with pytest.raises(StorageError, match=r"s3://bucket-\d+/a: .*NETWORK_CONNECTION"):
        file.write(b"x")


def test_what_no_repetition_mends_is_not_repeated(object_store):
    begun = time.monotonic()
    with pytest.raises(StorageError, match="NO_SUCH_BUCKET"):
        Place.at("s3://no-such-bucket/x").write(b"x")
    assert time.monotonic() - begun < place_module.PATIENCE / 10


def test_a_full_disk_says_so_and_leaves_what_stood_there(small_disk):
    file = Place.at(small_disk / "a")
    file.write(b"before")
    with pytest.raises(OSError, match="No space left"):
        file.write(bytes(2_000_000))
    assert file.read() == b"before"
    assert [path.name for path in small_disk.iterdir()] == ["a"]


def test_only_a_file_with_an_end_is_a_whole_zip(tmp_path):
    whole = Path(__file__).parent / "nothing.zip"
    assert not Place.at(whole).is_whole_zip()
    file = Place.at(tmp_path / "a.pt")
    file.write(b"PK\x05\x06" + bytes(18))
    assert file.is_whole_zip()
    file.write(b"PK\x05")
    assert not file.is_whole_zip()


@pytest.fixture
def trap(tmp_path) -> Place:
    """A storage in which `out` leads to a folder, and `file` to a file, that are not in it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("hush")
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "out").symlink_to(tmp_path / "outside")
    (tmp_path / "storage" / "file").symlink_to(tmp_path / "outside" / "secret")
    return Place.at(tmp_path / "storage")


def test_a_link_out_of_a_storage_is_not_read_through(trap):
    assert trap.names() == []
    for name in ("out/secret", "file"):
        with pytest.raises(UserError, match="a link there leads out"):
            (trap / name).read()
        with pytest.raises(UserError, match="a link there leads out"):
            (trap / name).exists()
    with pytest.raises(UserError, match="a link there leads out"):
        (trap / "out").names()


def test_a_link_out_of_a_storage_is_not_written_through(trap, tmp_path):
    with pytest.raises(UserError, match="a link there leads out"):
        (trap / "out" / "new").write(b"x")
    (tmp_path / "storage" / "a.json.partial").symlink_to(tmp_path / "outside" / "secret")
    (trap / "a.json").write(b"x")
    (trap / "file").write(b"in its place")
    assert (trap / "file").read() == b"in its place"
    assert [file.name for file in (tmp_path / "outside").iterdir()] == ["secret"]
    assert (tmp_path / "outside" / "secret").read_text() == "hush"


def test_of_a_link_the_link_is_removed(trap, tmp_path):
    with pytest.raises(UserError, match="a link there leads out"):
        (trap / "out" / "secret").remove()
    (trap / "out").remove()
    (trap / "file").remove()
    trap.remove()
    assert (tmp_path / "outside" / "secret").read_text() == "hush"


def test_a_link_that_stays_in_the_storage_is_a_file_like_others(trap, tmp_path):
    (trap / "a").write(b"x")
    (tmp_path / "storage" / "b").symlink_to(tmp_path / "storage" / "a")
    assert (trap / "b").read() == b"x"
