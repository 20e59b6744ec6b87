import time

import pytest

from inat_ray.config.errors import UserError
from inat_ray.log import lock
from inat_ray.log.lock import (
    alive_in,
    check_nobody_below,
    check_nobody_in,
    is_being_written,
    locked,
)
from inat_ray.log.run_log import RunLog
from inat_ray.storage.place import Place
from tests.log.made_up_logs import RUN


def test_of_two_writers_the_second_is_refused_until_the_first_is_gone(tmp_path):
    with RunLog(tmp_path) as log:
        log.append(RUN)
        with pytest.raises(UserError, match="another process is at work on this run"):
            RunLog(tmp_path)
    with RunLog(tmp_path) as log:
        assert log.history.run == RUN


def test_a_run_is_being_written_while_its_lock_is_held(tmp_path):
    assert not is_being_written(tmp_path / "a" / "log")
    held = locked(tmp_path / "a" / "log")
    assert is_being_written(tmp_path / "a" / "log")
    with pytest.raises(UserError, match=f"--out: another process is at work on {tmp_path}/a in it"):
        check_nobody_below(tmp_path, option="--out")
    held.release()
    check_nobody_below(tmp_path, option="--out")


def test_a_lock_whose_place_is_taken_by_a_file_is_told(tmp_path):
    (tmp_path / "log").write_text("")
    with pytest.raises(UserError, match="cannot be written to: File exists; choose another folder"):
        locked(tmp_path / "log")


@pytest.fixture
def storage(tmp_path, monkeypatch) -> Place:
    monkeypatch.setattr(lock, "SECONDS_A_BEAT", 0.05)
    monkeypatch.setattr(lock, "SECONDS_WITHOUT_BEAT", 0.5)
    return Place.at(tmp_path / "storage")


def wait_for_a_beat(file: Place) -> None:
    while file.glance() is None:
        time.sleep(0.01)


def test_a_process_at_work_is_seen_in_the_storage_until_it_ends(storage):
    with alive_in(storage / "run"):
        wait_for_a_beat(storage / "run" / lock.ALIVE)
        with pytest.raises(UserError, match="another process is at work on this run"):
            check_nobody_in(storage, option="--overwrite")
    assert storage.names() == []
    check_nobody_in(storage, option="--overwrite")


def test_what_a_process_left_that_died_does_not_count(storage):
    (storage / lock.ALIVE).write(b"someone 7")
    check_nobody_in(storage, option="--overwrite")


def test_the_file_of_a_process_that_took_over_is_not_removed(storage, monkeypatch):
    monkeypatch.setattr(lock, "SECONDS_A_BEAT", 60.0)
    file = storage / lock.ALIVE
    with alive_in(storage):
        wait_for_a_beat(file)
        file.write(b"another 0")
    assert file.read() == b"another 0"
