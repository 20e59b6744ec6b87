import json
from pathlib import Path

import pytest

from inat_ray.log.records import RunResumed
from inat_ray.log.run_log import RunLog
from inat_ray.run.folder import RunFolder
from inat_ray.terminal import status
from tests.log.made_up_logs import ended, epoch, started
from tests.run.made_up_runs import cut_off_run, finished_run, make_run, run_started, search_records


def last_line(text: str):
    return json.loads(text.splitlines()[-1])


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file's content and time of change."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """The address of a cut-off run's place in a storage; this machine has no folder of it."""
    run = cut_off_run(tmp_path / "here" / "cut", resources={"storage_path": str(tmp_path / "s")})
    run.rename(tmp_path / "gone")
    return tmp_path / "s" / "cut"


def test_a_finished_run_tells_its_best_test_accuracy_and_report(told, tmp_path):
    run = finished_run(tmp_path / "over")
    before = contents(run)
    code, text = told("sweep", "--status", run, "--json")
    assert code == 0, text
    best, kept = "best score (70.0 %) (b)", "kept model val acc 71.0 % (winner)"
    assert best in text
    assert f"finished: {kept}, test accuracy 60.0 %, report {run}/report.html" in text
    found = last_line(text)
    assert (found["state"], found["phase"], found["test_accuracy"]) == ("finished", "finished", 0.6)
    assert (found["best"]["trial"], found["best"]["best"]) == ("b", 0.7)
    assert found["resume"] is None
    assert contents(run) == before


def test_a_run_that_was_cut_off_tells_how_to_go_on(told, tmp_path):
    run = cut_off_run(tmp_path / "cut")
    code, text = told("sweep", "--status", run, "--json")
    assert code == 0, text
    assert f"resume with: inat-ray sweep --resume {run}" in text
    found = last_line(text)
    assert found["state"] == "cut off"
    assert found["trials"] == {"finished": 1, "interrupted": 1}
    assert found["seconds_left"] is None
    assert "left" not in text.partition("{")[0]


def test_an_extended_run_that_was_cut_off_between_rounds_of_a_confirmation_is_in_it(told, tmp_path):
    confirmed = [started("b_again", purpose="confirm"), epoch("b_again", 1), ended("b_again")]
    *searched, winner, its_epoch, its_end, look = search_records()
    more = [RunResumed(trials=3, extended=True), started("c"), epoch("c", 1), ended("c")]
    records = [*searched, *confirmed, winner, its_epoch, its_end, look, *more, searched[-1]]
    result = {"search": {"trials": {"finished": 2}}}
    run = make_run(tmp_path / "cut", records, result=result)
    code, text = told("sweep", "--status", run, "--json")
    assert code == 0, text
    assert text.startswith("made_up  confirmation")
    assert (last_line(text)["state"], last_line(text)["phase"]) == ("cut off", "confirmation")


def test_a_run_that_is_being_written_is_running_and_its_writer_goes_on(told, tmp_path):
    run = cut_off_run(tmp_path / "run")
    with RunLog(RunFolder(run).log) as log:
        code, text = told("sweep", "--status", run, "--json")
        log.append(epoch("b", 1, accuracy=0.7))
    assert code == 0, text
    found = last_line(text)
    assert (found["state"], found["resume"]) == ("running", None)
    assert [trial["trial"] for trial in found["running"]] == ["b"]
    assert "running: last record" in text


def test_a_run_without_a_result_has_failed(told, tmp_path):
    failed = ended("a", state="failed", error="the GPU fell off")
    run = make_run(tmp_path / "failed", [run_started(method="train"), started("a"), failed])
    code, text = told("sweep", "--status", run)
    assert code == 0, text
    assert "failed: last error: the GPU fell off" in text


def test_a_training_is_resumed_by_train(told, tmp_path):
    records = [run_started(method="train"), started("train")]
    run = make_run(tmp_path / "training", records)
    code, text = told("sweep", "--status", run)
    assert code == 0, text
    assert f"inat-ray train --resume {run}" in text


def test_of_a_run_in_a_storage_the_records_there_are_read(told, stored):
    before = contents(stored)
    code, text = told("sweep", "--status", stored, "--json")
    assert code == 0, text
    found = last_line(text)
    assert found["state"] == "running or cut off"
    assert found["resume"] == f"inat-ray sweep --resume {stored}"
    assert found["best"]["trial"] == "a"
    assert contents(stored) == before


def test_a_run_that_has_not_begun_its_log_says_so(told, tmp_path):
    run = make_run(tmp_path / "new", [])
    code, text = told("sweep", "--status", run, "--json")
    assert code == 0, text
    assert "starting" in text
    assert last_line(text)["state"] == "cut off"


@pytest.mark.parametrize(
    ("name", "reason"), [("nowhere", "there is no such folder"), (".", "holds no run")]
)
def test_a_folder_that_is_no_run_is_the_users_mistake(told, tmp_path, name, reason):
    code, text = told("sweep", "--status", tmp_path / name)
    assert code == 2
    assert reason in text


def test_a_log_that_lacks_records_is_told(told, tmp_path):
    run = cut_off_run(tmp_path / "run")
    events = RunFolder(run).log / "events.jsonl"
    lines = events.read_text().splitlines(keepends=True)
    events.write_text("".join(lines[:1] + lines[2:]))
    code, text = told("sweep", "--status", run)
    assert code == 2
    assert "line 2: epoch_ended of a, which has not begun; records before it are missing" in text


@pytest.mark.parametrize(
    "others", [["--seed", "0"], ["--trials", "3"], ["--resume", "r"], ["--dry-run"], ["e.yaml"]]
)
def test_options_of_a_sweep_have_no_place_beside_status(told, tmp_path, others):
    code, text = told("sweep", "--status", finished_run(tmp_path / "over"), *others)
    assert code == 2
    assert "has no place beside --status" in text


def test_watching_needs_a_run_and_a_terminal(told, tmp_path):
    assert told("sweep", "--watch")[0] == 2
    code, text = told("sweep", "--status", finished_run(tmp_path / "over"), "--watch")
    assert code == 2
    assert "needs a terminal" in text


def test_watching_ends_with_the_run(told, tmp_path, monkeypatch):
    run = cut_off_run(tmp_path / "run")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    log = RunLog(RunFolder(run).log)
    monkeypatch.setattr(status.time, "sleep", lambda _: log.close())
    code, text = told("sweep", "--status", run, "--watch")
    assert code == 0, text
    assert "cut off" in text


def test_ctrl_c_ends_watching_and_nothing_else(told, tmp_path, monkeypatch):
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    run = cut_off_run(tmp_path / "run")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(status.time, "sleep", interrupt)
    with RunLog(RunFolder(run).log):
        code, text = told("sweep", "--status", run, "--watch")
    assert code == 0, text
