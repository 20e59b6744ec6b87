import math

import pytest

from inat_ray.config.errors import UserError
from inat_ray.log.records import RunResumed, TrialPaused, TrialResumed
from inat_ray.log.run_log import RunLog, read_history, read_records
from tests.log.made_up_logs import RUN, TORN, ended, epoch, lines_of, started, written


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


@pytest.mark.parametrize("line", ['{"kind": "epoch_ended"}', '{"kind": "unheard_of", "time": 1}'])
def test_a_whole_line_that_is_no_record_is_damage_and_is_reported(tmp_path, line):
    path = written(tmp_path, RUN)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UserError, match="line 2: is not a record that this version can read"):
        list(read_records(path))


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
        ([started("a", purpose="confirm"), *PAUSED[1:]], "a pauses without"),
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


def test_a_log_of_a_newer_version_is_refused(tmp_path):
    path = written(tmp_path, RUN)
    path.write_text(path.read_text().replace('"version":1', '"version":99'))
    with pytest.raises(UserError, match=r"newer inat_ray \(log version 99.*update"):
        RunLog(tmp_path)
