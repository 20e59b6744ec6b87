import os
import shutil

import pytest

from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.log.lock import is_being_written
from inat_ray.log.mirror import LogMirror
from inat_ray.log.run_log import RunLog, read_history, read_records
from inat_ray.storage.place import Place
from tests.log.made_up_logs import RUN, TORN, epoch, history_of, started, written


def test_what_is_appended_is_read_back_the_same(run_records, tmp_path):
    path = written(tmp_path, *run_records)
    assert list(read_records(path)) == run_records
    assert read_history(tmp_path) == history_of(*run_records)


def test_the_history_of_an_open_log_is_current(run_records, tmp_path):
    with RunLog(tmp_path) as log:
        for count, record in enumerate(run_records, start=1):
            log.append(record)
            assert log.history == history_of(*run_records[:count])


def test_every_record_is_on_disk_before_an_observer_hears_of_it(run_records, tmp_path):
    heard = []

    def observe(record):
        assert list(read_records(tmp_path / "events.jsonl"))[-1] == record
        heard.append(record)

    written(tmp_path, *run_records, observers=[observe])
    assert heard == run_records


def test_every_observer_hears_every_record_in_order(run_records, tmp_path):
    first, second = [], []
    written(tmp_path, *run_records, observers=[first.append, second.append])
    assert first == second == run_records


@pytest.mark.parametrize("record", TORN)
def test_a_torn_log_is_continued_on_a_line_of_its_own(tmp_path, record):
    path = written(tmp_path, RUN, started("b"))
    whole = path.read_bytes()
    line = record.model_dump_json().encode()
    for length in (1, len(line) // 2, len(line) - 1, len(line)):
        path.write_bytes(whole + line[:length])
        with RunLog(tmp_path) as log:
            log.append(epoch("b", 1))
            assert log.history == read_history(tmp_path)
        kinds = [record.kind for record in read_records(path)]
        lost = [] if length < len(line) else [record.kind]
        assert kinds == ["run_started", "trial_started", *lost, "epoch_ended"]


def test_a_log_that_is_opened_again_goes_on_where_it_was(run_records, tmp_path):
    written(tmp_path, *run_records[:3])
    heard = []
    with RunLog(tmp_path) as log:
        log.watch(heard.append)
        assert log.history == history_of(*run_records[:3])
        for record in run_records[3:]:
            log.append(record)
    assert heard == run_records[3:]
    assert read_history(tmp_path) == history_of(*run_records)


def test_a_log_that_was_torn_is_whole_once_it_is_opened(run_records, tmp_path):
    path = written(tmp_path, *run_records[:3])
    whole = path.read_bytes()
    for torn in (b'{"time":1', b'{"time":1\n', b'{"time":1\n{"ti', b"\0\0\0", b"\n"):
        path.write_bytes(whole + torn)
        with RunLog(tmp_path):
            pass
        assert path.read_bytes() == whole


def test_on_a_full_disk_what_was_recorded_is_whole_and_more_follows_once_there_is_room(small_disk):
    filler = small_disk / "filler"
    with RunLog(small_disk / "log") as log:
        log.append(RUN)
        log.append(started("a"))
        filler.write_bytes(bytes(shutil.disk_usage(small_disk).free))
        # As many as the last page of the file has room for, and one more.
        endless = (log.append(epoch("a", number)) for number in range(1, 100))
        with pytest.raises(RunFailedError, match="can be resumed once there is room"):
            list(endless)
        kept = len(log.history.trials["a"].epochs)
        assert len(list(read_records(log.path))) == 2 + kept
        filler.unlink()
        log.append(epoch("a", kept + 1))
    assert len(read_history(small_disk / "log").trials["a"].epochs) == kept + 1


def test_a_log_that_is_a_pipe_or_a_folder_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "events.jsonl")
    with pytest.raises(UserError, match=r"events\.jsonl: is no file"):
        read_history(tmp_path)
    (tmp_path / "events.jsonl").unlink()
    (tmp_path / "events.jsonl").mkdir()
    with pytest.raises(UserError, match=r"events\.jsonl: is no file"):
        read_history(tmp_path)


@pytest.mark.parametrize("then", ["removed", "renamed", "replaced"])
def test_a_log_that_lost_its_place_takes_no_more(tmp_path, then):
    """The system would take every line for a file that nobody can find."""
    with RunLog(tmp_path / "run" / "log") as log:
        log.append(RUN)
        (tmp_path / "run").rename(tmp_path / "gone")
        if then == "removed":
            shutil.rmtree(tmp_path / "gone")
        if then == "replaced":
            written(tmp_path / "run" / "log", RUN)
        with pytest.raises(RunFailedError, match="was removed, renamed or replaced"):
            log.append(started("a"))


def test_a_line_during_which_a_signal_came_is_neither_on_the_disk_nor_in_the_storage(
    tmp_path, monkeypatch
):
    storage = Place.at(tmp_path / "share")
    with RunLog(tmp_path / "log", storage=storage) as log:
        log.append(RUN)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", signalled)
            with pytest.raises(KeyboardInterrupt):
                log.append(started("a"))
        log.append(started("b"))
    assert list(read_records(log.path)) == [RUN, started("b")]
    RunLog(tmp_path / "log", storage=storage).close()


def signalled(_descriptor):
    raise KeyboardInterrupt


def test_the_lock_is_held_until_the_storage_has_all(tmp_path, monkeypatch):
    log = RunLog(tmp_path / "log", storage=Place.at(tmp_path / "share"))
    held = []
    close = LogMirror.close
    monkeypatch.setattr(
        LogMirror,
        "close",
        lambda mirror: (held.append(is_being_written(tmp_path / "log")), close(mirror)),
    )
    log.close()
    assert held == [True]
    assert not is_being_written(tmp_path / "log")
