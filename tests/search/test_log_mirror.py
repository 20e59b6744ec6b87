import threading
import time

import pytest

from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.search import log_mirror
from inat_ray.search.log_mirror import SEGMENTS, LogMirror, read_lines, segments_of
from inat_ray.storage import place as place_module
from inat_ray.storage.place import Place

LINES = [b'{"n": %d}\n' % number for number in range(40)]


@pytest.fixture
def run(bucket) -> Place:
    return Place.at(bucket) / "runs" / "mine"


def mirror(run: Place, lines=(), tell=print) -> LogMirror:
    return LogMirror(run, lines, tell=tell)


def test_what_was_added_can_be_read_after_the_end(run):
    writer = mirror(run)
    for line in LINES:
        writer.add(line)
    writer.close()
    assert list(read_lines(run)) == LINES


def test_records_that_come_while_one_is_on_its_way_go_together(run):
    writer = mirror(run)
    for line in LINES:
        writer.add(line)
    writer.close()
    assert len(segments_of(run)) < len(LINES) / 2


def test_records_are_safe_in_a_moment_while_the_run_goes_on(run):
    writer = mirror(run)
    writer.add(LINES[0])
    deadline = time.monotonic() + 20
    while writer.written == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(read_lines(run)) == LINES[:1]
    writer.close()


def test_an_action_waits_for_the_records_before_it(run):
    seen: list[int] = []
    writer = mirror(run)
    for line in LINES[:10]:
        writer.add(line)
    writer.then(lambda: seen.append(len(list(read_lines(run)))))
    writer.close()
    assert seen == [10]


def test_another_process_brings_what_the_first_could_not(run):
    """The first was killed: its own folder has more than the storage."""
    first = mirror(run)
    for line in LINES[:7]:
        first.add(line)
    first.close()
    second = mirror(run, LINES[:20])
    second.add(LINES[20])
    second.close()
    assert list(read_lines(run)) == LINES[:21]


def test_a_folder_that_is_behind_its_storage_is_refused(run):
    first = mirror(run, LINES[:5])
    first.close()
    with pytest.raises(UserError, match=r"5 records, and the run's own folder 3: .*--resume s3://"):
        mirror(run, LINES[:3])


def test_a_process_that_was_replaced_writes_nothing_more(run):
    first = mirror(run, LINES[:3])
    first.then(lambda: None)
    second = mirror(run, LINES[:3])
    first.add(b"of the first\n")
    with pytest.raises(RunFailedError, match="another process goes on with this run"):
        first.close()
    second.add(LINES[3])
    second.close()
    assert list(read_lines(run)) == LINES[:4]


def test_a_missing_segment_is_found_out(run):
    for start in (0, 10, 20):
        writer = mirror(run, LINES[: start + 10])
        writer.close()
    (run / segments_of(run)[1].name).remove()
    with pytest.raises(UserError, match="records 10 to 20 of its log are missing"):
        list(read_lines(run))


def test_many_segments_become_one_and_what_a_crash_left_of_them_does_no_harm(run, monkeypatch):
    monkeypatch.setattr(log_mirror, "MOST_SEGMENTS", 3)
    for end in range(2, 12, 2):
        writer = mirror(run, LINES[:end])
        writer.close()
    assert 1 <= len(segments_of(run)) <= 4
    (run / SEGMENTS / "000000002-000000004.jsonl").write(b"".join(LINES[2:4]))  # left by a crash
    assert list(read_lines(run)) == LINES[:10]


def test_while_the_storage_is_away_the_run_goes_on_and_the_user_is_told(object_store, monkeypatch):
    monkeypatch.setattr(log_mirror, "SLOW", 0.5)
    told: list[str] = []
    run = Place.at(object_store.bucket()) / "mine"
    writer = mirror(run, tell=told.append)
    object_store.stop()
    for line in LINES:
        writer.add(line)
    back = threading.Timer(2.0, object_store.start)
    back.start()
    writer.close()
    back.join()
    assert list(read_lines(run)) == LINES
    assert "does not answer" in told[0]
    assert "answers again, after" in told[1]


def test_a_storage_that_is_away_is_told_although_nothing_happens(object_store, monkeypatch):
    """As all trials wait for it."""
    monkeypatch.setattr(log_mirror, "SLOW", 0.2)
    monkeypatch.setattr(log_mirror, "SECONDS_BETWEEN_LOOKS", 0.1)
    told = threading.Event()
    run = Place.at(object_store.bucket()) / "mine"
    writer = mirror(run, tell=lambda _: told.set())
    object_store.stop()
    assert told.wait(timeout=20)
    object_store.start()
    writer.close()


@pytest.mark.slow
def test_a_storage_that_stays_away_ends_the_run_which_can_be_resumed(object_store, monkeypatch):
    monkeypatch.setattr(place_module, "PATIENCE", 0.1)
    writer = mirror(Place.at(object_store.bucket()) / "mine")
    object_store.stop()
    writer.add(LINES[0])
    with pytest.raises(RunFailedError, match="it is whole on this machine"):
        writer.close()
    with pytest.raises(RunFailedError, match="cannot be brought to its storage"):
        writer.add(LINES[1])
