import json

import pytest

from inat_ray.config.errors import UserError
from inat_ray.log.run_log import RunLog
from inat_ray.run.folder import RunFolder
from inat_ray.run.listing import find_runs, read_run
from tests.log.made_up_logs import ended, epoch, started
from tests.run.made_up_runs import (
    cut_off_run,
    finished_run,
    make_run,
    run_started,
    search_records,
    write_log,
)


def test_a_run_that_is_over_tells_its_numbers(tmp_path):
    run = read_run(finished_run(tmp_path / "a"))
    assert (run.kind, run.state, run.problem) == ("random", "finished", None)
    assert (run.name, run.trials, run.planned_trials, run.epochs) == ("made_up", 2, 2, 3)
    assert (run.metric, run.best, run.test_accuracy) == ("val_accuracy", 0.7, 0.6)
    assert (run.test_looks, run.begun) == (1, 1.0)
    files = [path for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert run.size == sum(path.stat().st_size for path in files)


def test_newest_first_and_nothing_below_a_run(tmp_path):
    finished_run(tmp_path / "old", time=10.0)
    finished_run(tmp_path / "deep" / "new", time=20.0)
    finished_run(tmp_path / "old" / "inner", time=30.0)
    finished_run(tmp_path / ".hidden", time=40.0)
    assert [run.path.name for run in find_runs(tmp_path)] == ["new", "old"]
    assert [run.path.name for run in find_runs(tmp_path / "old")] == ["old"]


def test_links_are_not_followed_and_other_folders_are_no_runs(tmp_path):
    finished_run(tmp_path / "elsewhere" / "a")
    (tmp_path / "here" / "project" / "log").mkdir(parents=True)
    (tmp_path / "here" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "here" / "circle").symlink_to(tmp_path / "here")
    assert find_runs(tmp_path / "here") == []


def test_a_folder_that_is_not_there_is_a_mistake(tmp_path):
    with pytest.raises(UserError, match="there is no such folder"):
        find_runs(tmp_path / "none")


def test_a_run_is_running_while_its_log_is_open_and_cut_off_afterwards(tmp_path):
    path = cut_off_run(tmp_path / "a")
    assert read_run(path).state == "cut off"
    with RunLog(path / "log"):
        assert read_run(path).state == "running"
        assert read_run(path).state == "running"  # asking did not take the lock away
    assert read_run(path).state == "cut off"


def test_a_run_killed_before_its_result_was_written_is_cut_off(tmp_path):
    assert read_run(make_run(tmp_path / "a", search_records())).state == "cut off"
    assert read_run(make_run(tmp_path / "b", [])).state == "cut off"


def test_a_log_of_the_first_version_had_no_record_of_its_end(tmp_path):
    first, *others = search_records()
    records = [first.model_copy(update={"version": 1})]
    records += [record for record in others if record.kind != "search_ended"]
    assert read_run(make_run(tmp_path / "a", records, result={})).state == "cut off"
    assert read_run(make_run(tmp_path / "b", records, result={"name": "b"})).state == "finished"


@pytest.mark.parametrize(
    ("end", "state"),
    [
        ("finished", "finished"),
        ("diverged", "finished"),
        ("interrupted", "cut off"),
        ("running", "cut off"),
    ],
)
def test_a_training_is_over_when_its_trial_is(tmp_path, end, state):
    records = [run_started(method="train"), started("train"), epoch("train", 1)]
    records += [] if end == "running" else [ended("train", end)]
    run = read_run(make_run(tmp_path / "a", records, result={"name": "a"}))
    assert (run.kind, run.state, run.trials) == ("train", state, 1)


def test_a_run_without_any_result_has_failed(tmp_path):
    records = [*search_records()[:1], started("a"), ended("a", "failed", "no"), search_records()[7]]
    run = read_run(make_run(tmp_path / "a", records))
    assert (run.state, run.best) == ("failed", None)


def test_what_evaluate_and_prepare_leave_is_listed_too(tmp_path):
    path = make_run(tmp_path / "a", [], result={"val_accuracy": 0.5})
    (path / "log" / "events.jsonl").unlink()
    assert (read_run(path).kind, read_run(path).state) == ("evaluate", "finished")
    (path / "result.json").write_text('{"classes": [], "pack": "/c/packs/p.arrow"}')
    run = read_run(path)
    assert (run.kind, run.pack.name) == ("prepare", "p.arrow")


def no_json(path):
    (path / "result.json").write_text("{")


def no_experiment(path):
    (path / "experiment.yaml").write_text("name: [")


def without_its_first_lines(path):
    log = path / "log" / "events.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[2:]))


def of_another_program(path):
    (path / "log" / "events.jsonl").write_text('{"kind": "other"}\n')


def of_bytes(path):
    (path / "result.json").write_bytes(b"\xff\xfe\x00")


def of_a_list(path):
    (path / "result.json").write_text("[1]")


@pytest.mark.parametrize(
    "damage",
    [no_json, no_experiment, without_its_first_lines, of_another_program, of_bytes, of_a_list],
)
def test_a_damaged_run_is_listed_with_what_is_wrong(tmp_path, damage):
    damage(finished_run(tmp_path / "a"))
    [run] = find_runs(tmp_path)
    assert run.state == "damaged"
    assert run.problem
    assert run.size > 1000


@pytest.mark.parametrize(
    ("file", "written", "odd"),
    [
        ("log/events.jsonl", '"metric":"val_accuracy"', '"metric":"nonsense"'),
        ("log/events.jsonl", '"time":1.0', '"time":Infinity'),
        ("log/events.jsonl", '"time":1.0,', ""),
        ("log/events.jsonl", '"accuracy":0.6', '"accuracy":NaN'),
        ("result.json", '"test_accuracy": 0.6', '"test_accuracy": "good"'),
        ("result.json", '"images": {"train": 1}', '"images": 7'),
        ("storage", "/", "\xff"),
    ],
)
def test_odd_values_in_one_run_leave_the_others_listed(tmp_path, file, written, odd):
    finished_run(tmp_path / "good")
    path = finished_run(tmp_path / "odd") / file
    result = json.loads((tmp_path / "odd" / "result.json").read_text())
    (tmp_path / "odd" / "result.json").write_text(json.dumps(result | {"test_accuracy": 0.6}))
    content = path.read_text() if path.exists() else str(tmp_path / "storage")
    assert written in content
    path.write_text(content.replace(written, odd, 1), encoding="latin-1")
    runs = {run.path.name: run for run in find_runs(tmp_path)}
    assert (runs["good"].state, runs["good"].problem) == ("finished", None)
    assert runs["odd"].state == "damaged"
    assert f"odd/{file}" in runs["odd"].problem


def test_a_torn_last_line_is_no_damage(tmp_path):
    path = finished_run(tmp_path / "a")
    with (path / "log" / "events.jsonl").open("ab") as log:
        log.write(b'{"kind": "epo')
    assert read_run(path).state == "finished"


def test_a_runs_place_in_a_storage_is_known_as_one(tmp_path):
    path = make_run(
        tmp_path / "here" / "a", [], resources={"storage_path": str(tmp_path / "share")}
    )
    write_log(RunFolder(path), search_records())
    RunFolder(path).keep_all()
    assert read_run(path).storage.endswith("share/a")
    [kept] = find_runs(tmp_path / "share")
    assert RunFolder(kept.path).holds_a_run
    assert kept.is_storage
    assert (kept.trials, kept.best) == (2, 0.7)
