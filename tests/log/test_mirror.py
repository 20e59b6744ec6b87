import itertools
import threading
import time

import pytest

from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.log import mirror as log_mirror
from inat_ray.log.mirror import (
    SEGMENTS,
    LogMirror,
    Segment,
    all_segments,
    read_lines,
    segments_of,
)
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
    with pytest.raises(UserError, match=r"5 records, and the run's own folder 3, .*--resume s3://"):
        mirror(run, LINES[:3])


def test_a_process_that_was_replaced_writes_nothing_more(run):
    first = mirror(run, LINES[:3])
    first.then(lambda: None)
    second = mirror(run, LINES[:3])
    too_late = (first.add(b"of the first\n") for _ in itertools.count())
    with pytest.raises(RunFailedError, match="another process continues this run"):
        list(too_late)  # until it looks
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
    # Left by a crash:
    (run / SEGMENTS / "000000002-000000004-0002.jsonl").write(b"".join(LINES[2:4]))
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


NEW = [b'{"new": %d}\n' % number for number in range(3)]


def test_what_a_replaced_writer_brings_late_is_no_part_of_the_log(run, monkeypatch):
    """It had read its mark, and then could not reach the storage until another had gone on."""
    monkeypatch.setattr(log_mirror, "SECONDS_A_SEGMENT", 0.0)
    first_safe, on_its_way, reachable = (threading.Event() for _ in range(3))
    write = Place.write

    def out_of_reach(place, content):
        if place.name.endswith("-0001.jsonl") and first_safe.is_set():
            on_its_way.set()
            reachable.wait(timeout=20)
        write(place, content)

    monkeypatch.setattr(Place, "write", out_of_reach)
    done: list[str] = []
    old = mirror(run, LINES[:2])
    old.then(first_safe.set)
    assert first_safe.wait(timeout=20)
    for line in LINES[2:6]:
        old.add(line)
    assert on_its_way.wait(timeout=20)
    old.then(lambda: done.append("a checkpoint that the other needs is removed"))
    new = mirror(run, LINES[:2])
    for line in NEW[:2]:
        new.add(line)
    reachable.set()
    with pytest.raises(RunFailedError, match="another process continues this run"):
        old.close()
    new.add(NEW[2])
    new.close()
    assert not done
    assert any(s.generation == 1 and s.end > 2 for s in all_segments(run))
    assert read_lines(run) == LINES[:2] + NEW
    with pytest.raises(UserError, match="do not begin with those: it was continued"):
        mirror(run, LINES[:6])
    third = mirror(run, LINES[:2] + NEW)
    third.close()
    assert read_lines(run) == LINES[:2] + NEW


@pytest.mark.parametrize("late", [Segment(2, 6, 1), Segment(0, 6, 1), Segment(5, 9, 1)])
def test_no_late_segment_shadows_what_followed(run, late):
    for count in (2, 5, 9):
        writer = mirror(run, LINES[:count])
        writer.close()
    (run / late.name).write(b"late\n" * (late.end - late.start))
    assert read_lines(run) == LINES[:9]


def test_a_log_of_a_program_before_writers_had_names_is_read_and_gone_on_with(run):
    for start, end in ((0, 3), (3, 7)):
        (run / SEGMENTS / f"{start:09}-{end:09}.jsonl").write(b"".join(LINES[start:end]))
    assert read_lines(run) == LINES[:7]
    writer = mirror(run, LINES[:9])
    writer.close()
    assert read_lines(run) == LINES[:9]


def test_many_segments_that_become_one_leave_nothing_else(run, monkeypatch):
    monkeypatch.setattr(log_mirror, "MOST_SEGMENTS", 3)
    for end in (2, 4, 6):
        writer = mirror(run, LINES[:end])
        writer.close()
    assert all_segments(run) in (
        [Segment(0, 4, 2), Segment(4, 4, 3), Segment(4, 6, 3)],
        [Segment(0, 6, 3)],
    )
    assert read_lines(run) == LINES[:6]


@pytest.mark.parametrize(
    "damage", [b"", LINES[2], b"".join(LINES[2:4]) + LINES[4][:-1], b"".join(LINES[:9])]
)
def test_a_segment_that_holds_other_than_its_name_says_is_named_and_mended(run, damage):
    for end in (2, 5):
        writer = mirror(run, LINES[:end])
        writer.close()
    [name] = [s.name for s in segments_of(run) if s.start == 2]
    (run / name).write(damage)
    with pytest.raises(UserError, match=r"000000002-000000005-0002.jsonl: is damaged"):
        read_lines(run)
    with pytest.raises(UserError, match="is damaged"):
        mirror(run, LINES[:4])
    writer = mirror(run, LINES[:5])  # the folder that has it all
    assert read_lines(run) == LINES[:5]
    writer.close()


def test_a_process_that_may_not_take_the_log_over_leaves_its_writer_alone(run):
    writer, safe = mirror(run, LINES[:5]), threading.Event()
    writer.then(safe.set)
    assert safe.wait(timeout=20)
    with pytest.raises(UserError, match="holds 5 records"):
        mirror(run, LINES[:2])
    writer.add(LINES[5])
    writer.close()
    assert read_lines(run) == LINES[:6]
