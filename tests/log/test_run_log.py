import json
import math
import os
import shutil

import pytest

from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.log.history import History
from inat_ray.log.lock import is_being_written
from inat_ray.log.mirror import LogMirror
from inat_ray.log.records import (
    EpochEnded,
    LookAtTest,
    RunResumed,
    RunStarted,
    TrialEnded,
    TrialPaused,
    TrialResumed,
    TrialStarted,
)
from inat_ray.log.run_log import RunLog, read_history, read_records
from inat_ray.storage.place import Place

RUN = RunStarted(
    time=1.0,
    name="made_up",
    method="random",
    metric="val_accuracy",
    goal="maximize",
    trials=2,
    epochs=3,
    parameters={"recipe.lr": "number"},
)


def started(trial_id: str, *, purpose="search", time=2.0) -> TrialStarted:
    return TrialStarted(
        time=time,
        trial_id=trial_id,
        purpose=purpose,
        seed=7,
        parameters={"recipe.lr": 0.1, "model.filters": [32, 64]},
        epochs=3,
    )


def epoch(trial_id: str, number: int, *, accuracy=0.5, loss=1.0, checkpoint=None) -> EpochEnded:
    return EpochEnded(
        trial_id=trial_id,
        epoch=number,
        train_loss=loss,
        train_accuracy=accuracy,
        val_loss=loss,
        val_accuracy=accuracy,
        val_balanced_accuracy=accuracy,
        lr=0.1,
        seconds=1.0,
        images_per_second=100.0,
        checkpoint=checkpoint,
    )


def ended(trial_id: str, state="finished", error=None) -> TrialEnded:
    return TrialEnded(trial_id=trial_id, state=state, error=error)


def history_of(*records) -> History:
    history = History()
    for record in records:
        history.add(record)
    return history


def written(folder, *records, observers=()):
    with RunLog(folder, observers) as log:
        for record in records:
            log.append(record)
    return log.path


@pytest.fixture
def run_records():
    look = LookAtTest(model="best.safetensors", accuracy=0.9, loss=0.4, images=50, predictions="p")
    return [
        RUN,
        started("a"),
        epoch("a", 1, checkpoint="checkpoints/a/epoch_0001.pt"),
        epoch("a", 2, accuracy=0.7),
        ended("a"),
        started("b"),
        ended("b", "failed", "out of memory"),
        look,
    ]


def test_what_is_appended_is_read_back_the_same(run_records, tmp_path):
    path = written(tmp_path, *run_records)
    assert list(read_records(path)) == run_records
    assert read_history(tmp_path) == history_of(*run_records)


def test_numbers_that_are_none_survive_the_disk(tmp_path):
    record = epoch("a", 1, loss=math.nan).model_copy(update={"val_loss": math.inf})
    *_, read = read_records(written(tmp_path, RUN, started("a"), record))
    assert math.isnan(read.train_loss)
    assert read.val_loss == math.inf


def test_names_and_errors_in_any_script_and_with_line_breaks_survive_the_disk(tmp_path):
    record = ended("a", "failed", 'line one\nline two: "größe" 画像 }')
    assert list(read_records(written(tmp_path, RUN, started("a"), record)))[2:] == [record]


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


TORN = [started("größe"), ended("b", "failed", 'a "größe" {of} 画像')]
"""A crash may cut a line behind any byte: within a character, or where `}` looks like the end."""


@pytest.mark.parametrize("record", TORN)
def test_a_torn_last_line_is_dropped_wherever_it_is_torn(tmp_path, record):
    path = written(tmp_path, RUN, started("b"))
    whole = path.read_bytes()
    line = record.model_dump_json().encode()
    for length in range(len(line)):
        path.write_bytes(whole + line[:length])
        assert len(list(read_records(path))) == 2
    path.write_bytes(whole + line)  # only its line break is lost
    assert list(read_records(path))[2:] == [record]


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
    with RunLog(tmp_path, [heard.append]) as log:
        assert log.history == history_of(*run_records[:3])
        for record in run_records[3:]:
            log.append(record)
    assert heard == run_records[3:]
    assert read_history(tmp_path) == history_of(*run_records)


@pytest.mark.parametrize("line", ['{"kind": "epoch_ended"}', '{"kind": "unheard_of", "time": 1}'])
def test_a_whole_line_that_is_no_record_is_damage_and_is_reported(tmp_path, line):
    path = written(tmp_path, RUN)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UserError, match="line 2: is not a record that this version can read"):
        list(read_records(path))


def lines_of(path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line[: len(line) // 2] + b"\n",
        lambda line: line.replace(b'"', b"#", 1),
        lambda line: b"\0" * len(line) + b"\n",
        lambda _: b"\n",
    ],
)
def test_a_damaged_line_is_named_wherever_no_crash_can_have_torn_it(run_records, tmp_path, damage):
    path = written(tmp_path, *run_records[:-1])
    lines = lines_of(path)
    for number, line in enumerate(lines[:-1]):
        path.write_bytes(b"".join([*lines[:number], damage(line), *lines[number + 1 :]]))
        with pytest.raises(
            UserError, match=rf"events\.jsonl: line {number + 1}: .*remove the line"
        ):
            list(read_records(path))
        with pytest.raises(UserError, match=f"line {number + 1}: "):
            RunLog(tmp_path)


@pytest.mark.parametrize("flipped", [0, 10, -40, -2, -1])
def test_a_look_at_the_test_set_is_not_forgotten_for_a_byte_of_its_line(
    run_records, tmp_path, flipped
):
    path = written(tmp_path, *run_records)
    content = bytearray(path.read_bytes())
    content[len(content) - len(lines_of(path)[-1]) + flipped if flipped >= 0 else flipped] = 0x07
    path.write_bytes(content)
    with pytest.raises(UserError, match="line 8: is not a record that this version can read"):
        list(read_records(path))


@pytest.mark.parametrize("method", ["random", "train"])
def test_a_torn_line_before_the_record_of_a_resumption_is_dropped(tmp_path, method):
    """So did earlier versions leave logs that they went on with."""
    run = RUN.model_copy(update={"method": method})
    resumption = (
        RunResumed(trials=2) if method == "random" else TrialResumed(trial_id="a", epochs=1)
    )
    records = [run, started("a"), epoch("a", 1), resumption, epoch("a", 2)]
    path = written(tmp_path, *records)
    lines = lines_of(path)
    torn = ended("a", "failed", "größe").model_dump_json().encode()
    for length in range(len(torn)):
        path.write_bytes(b"".join([*lines[:3], torn[:length] + b"\n", *lines[3:]]))
        assert list(read_records(path)) == records


def test_a_torn_line_before_a_look_at_the_test_set_is_dropped(run_records, tmp_path):
    """So did earlier versions leave logs when a run that was cut off was evaluated."""
    path = written(tmp_path, *run_records)
    *before, look = lines_of(path)
    path.write_bytes(b"".join([*before, b'{"time":1.0,"ki\n', look]))
    assert list(read_records(path)) == run_records


def test_a_log_that_was_torn_is_whole_once_it_is_opened(run_records, tmp_path):
    path = written(tmp_path, *run_records[:3])
    whole = path.read_bytes()
    for torn in (b'{"time":1', b'{"time":1\n', b'{"time":1\n{"ti', b"\0\0\0", b"\n"):
        path.write_bytes(whole + torn)
        with RunLog(tmp_path):
            pass
        assert path.read_bytes() == whole


@pytest.mark.parametrize("missing", [{0}, {1}, {2}, {0, 1}])
def test_a_log_from_which_records_are_missing_says_before_which_line(tmp_path, missing):
    path = written(tmp_path, RUN, started("a"), epoch("a", 1), epoch("a", 2), ended("a"))
    lines = lines_of(path)
    path.write_bytes(b"".join(line for n, line in enumerate(lines) if n not in missing))
    with pytest.raises(
        UserError, match=rf"line {max(missing) + 1 - (len(missing) - 1)}: .*missing"
    ):
        read_history(tmp_path)


PAUSED = [started("a"), epoch("a", 1), TrialPaused(trial_id="a")]


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ([*PAUSED, epoch("a", 2)], "epoch 2 of a, which is paused"),
        ([*PAUSED, PAUSED[-1]], "a pauses without"),
        ([started("a"), epoch("a", 1, accuracy=math.nan), PAUSED[-1]], "a pauses without"),
        ([started("a"), epoch("a", 1), ended("a"), PAUSED[-1]], "a pauses without"),
        ([*PAUSED, started("a")], "a begins a second time"),
    ],
)
def test_a_log_in_which_a_trial_cannot_do_what_it_does_is_refused(tmp_path, records, told):
    path = written(tmp_path, RUN)
    lines = [f"{record.model_dump_json()}\n" for record in records]
    path.write_text(path.read_text() + "".join(lines))
    with pytest.raises(UserError, match=f"line {len(lines) + 1}: {told}"):
        read_history(tmp_path)


def test_a_trial_that_ran_or_was_paused_when_its_process_died_goes_on(tmp_path):
    again = [RunResumed(trials=2), TrialResumed(trial_id="a", epochs=1), epoch("a", 2)]
    end = [TrialPaused(trial_id="a"), TrialResumed(trial_id="a", epochs=2), ended("a")]
    for number, before in enumerate((PAUSED, PAUSED[:-1])):
        records = [RUN, *before, *again, *end]
        path = written(tmp_path / str(number), *records)
        assert list(read_records(path)) == records


@pytest.mark.parametrize(
    ("written_as", "odd"),
    [
        ('"metric":"val_accuracy"', '"metric":"nonsense"'),
        ('"metric":"val_accuracy"', '"metric":["val_accuracy"]'),
        ('"method":"random"', '"method":"guess"'),
        ('"time":1.0', '"time":Infinity'),
        ('"time":1.0', '"time":NaN'),
        ('"time":1.0', '"time":1e300'),
        ('"time":1.0', '"time":"1"'),
        ('"time":1.0,', ""),
        ('"trials":2', '"trials":"2"'),
        ('"trials":2', '"trials":true'),
        ('"trials":2', '"trials":-2'),
        ('"trials":2', '"trials":1e400'),
        ('"epoch":1,', '"epoch":0,'),
        ('"seconds":1.0', '"seconds":Infinity'),
        ('"seconds":1.0', '"seconds":-1.0'),
        ('"val_accuracy":0.5', '"val_accuracy":Infinity'),
        ('"val_accuracy":0.5', '"val_accuracy":50'),
        ('"val_accuracy":0.5', '"val_accuracy":null'),
        ('"checkpoint":null', '"checkpoint":"log"'),
    ],
)
def test_an_odd_value_is_damage_and_is_named(tmp_path, written_as, odd):
    path = written(tmp_path, RUN, started("a"), epoch("a", 1))
    content = path.read_text()
    assert written_as in content
    path.write_text(content.replace(written_as, odd, 1))
    with pytest.raises(UserError, match=r"line \d: is not a record that this version can read"):
        list(read_records(path))


def test_a_later_record_of_the_same_epoch_replaces_the_earlier_one():
    history = history_of(
        RUN, started("a"), epoch("a", 1, accuracy=0.1), epoch("a", 1, accuracy=0.2)
    )
    assert history.trials["a"].values("val_accuracy") == [0.2]


def test_an_epoch_that_is_repeated_drops_those_that_came_after_it():
    history = history_of(
        RUN, started("a"), epoch("a", 1), epoch("a", 2), epoch("a", 3), epoch("a", 2, accuracy=0.9)
    )
    assert [e.epoch for e in history.trials["a"].epochs] == [1, 2]
    assert history.trials["a"].values("val_accuracy") == [0.5, 0.9]


def test_a_trial_runs_until_its_end_is_recorded():
    history = history_of(RUN, started("a"))
    assert history.trials["a"].state == "running"
    history.add(ended("a", "failed", "out of memory"))
    assert (history.trials["a"].state, history.trials["a"].error) == ("failed", "out of memory")


def test_the_best_epoch_is_the_earliest_of_equals_and_a_number():
    trial = history_of(
        RUN,
        started("a"),
        epoch("a", 1, accuracy=0.3, loss=math.nan),
        epoch("a", 2, accuracy=0.8, loss=0.5),
        epoch("a", 3, accuracy=0.8, loss=0.4),
    ).trials["a"]
    best = trial.best("val_accuracy")
    least_loss = trial.best("val_loss")
    assert best is not None
    assert least_loss is not None
    assert (best.epoch, least_loss.epoch) == (2, 3)


def test_a_trial_whose_values_are_no_numbers_has_no_best():
    trial = history_of(RUN, started("a"), epoch("a", 1, loss=math.nan)).trials["a"]
    assert trial.best("val_loss") is None


def test_the_leaderboard_has_the_searchs_trials_with_a_result_best_first():
    history = history_of(
        RUN,
        *(started("a"), epoch("a", 1, accuracy=0.2)),
        *(started("b"), epoch("b", 1, accuracy=0.9), epoch("b", 2, accuracy=0.1)),
        *(started("without_an_epoch"), ended("without_an_epoch", "failed")),
        *(started("c"), epoch("c", 1, accuracy=0.2)),
        *(started("winner", purpose="final"), epoch("winner", 1, accuracy=1.0)),
    )
    assert [trial.trial_id for trial in history.leaderboard()] == ["b", "a", "c"]
    assert [t.trial_id for t in history.searched] == ["a", "b", "without_an_epoch", "c"]


def test_a_leaderboard_by_loss_has_the_least_first():
    run = RUN.model_copy(update={"metric": "val_loss", "goal": "minimize"})
    history = history_of(
        run,
        *(started("a"), epoch("a", 1, loss=0.9)),
        *(started("b"), epoch("b", 1, loss=0.3)),
        *(started("c"), epoch("c", 1, loss=math.nan)),
    )
    assert [trial.trial_id for trial in history.leaderboard()] == ["b", "a"]


def test_a_log_of_a_newer_version_is_refused(tmp_path):
    path = written(tmp_path, RUN)
    path.write_text(path.read_text().replace('"version":1', '"version":99'))
    with pytest.raises(UserError, match=r"newer inat_ray \(log version 99.*update"):
        RunLog(tmp_path)


def test_of_two_writers_the_second_is_refused_until_the_first_is_gone(tmp_path):
    with RunLog(tmp_path) as log:
        log.append(RUN)
        with pytest.raises(UserError, match="another process is at work on this run"):
            RunLog(tmp_path)
    with RunLog(tmp_path) as log:
        assert log.history.run == RUN


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


def test_the_fields_of_a_line_have_an_order_that_logs_keep_from_version_to_version():
    assert list(json.loads(epoch("a", 1).model_dump_json())) == [
        "time", "kind", "trial_id", "epoch", "train_loss", "train_accuracy", "val_loss",
        "val_accuracy", "val_balanced_accuracy", "lr", "seconds", "images_per_second",
        "peak_memory", "checkpoint",
    ]  # fmt: skip
    assert list(json.loads(started("a").model_dump_json()))[:4] == [
        "time", "kind", "trial_id", "purpose",
    ]  # fmt: skip
