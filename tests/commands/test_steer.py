import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from inat_ray.log.history import History
from inat_ray.log.records import (
    EpochEnded,
    FinishAsked,
    RunResumed,
    SearchChanged,
    StopAsked,
    TrialStarted,
)
from inat_ray.log.run_log import EVENTS, read_history, read_records
from inat_ray.run.folder import REQUESTS
from inat_ray.search.steering import Request
from tests.run.made_up_runs import cut_off_run

NARROWED = "search.parameters.recipe.lr={distribution: uniform, min: 0.1, max: 0.2}"


def test_a_trial_of_a_sweep_that_nobody_works_on_is_ended_and_the_sweep_stays_cut_off(
    told, tmp_path
):
    run = cut_off_run(tmp_path / "run")
    code, text = told("sweep", "--stop", f"{run}/b")
    assert (code, "b is not trained any further" in flat(text)) == (0, True)
    history = read_history(run / "log")
    assert history.trials["b"].state == "stopped_by_hand"
    assert not list((run / "checkpoints").rglob("*.pt"))
    code, text = told("sweep", "--status", run, "--json")
    assert "changed " in text
    assert json.loads(text.splitlines()[-1])["changes"] == told_of(run)
    assert "cut off" in text
    code, text = told("sweep", "--stop", f"{run}/b")
    assert (code, "b: has ended already: stopped by hand" in flat(text)) == (2, True)
    assert len(read_history(run / "log").steering) == 1


def test_the_end_of_a_trial_of_a_run_in_a_storage_waits_there_for_who_goes_on_with_it(
    told, tmp_path
):
    run = cut_off_run(tmp_path / "run", resources={"storage_path": str(tmp_path / "S")})
    stored = tmp_path / "S" / "run"
    code, text = told("sweep", "--stop", f"{stored}/b")
    assert (code, f"once --resume {stored} goes on with the run" in flat(text)) == (0, True)
    code, text = told("sweep", "--stop", f"{stored}/a")
    assert (code, "--stop a: has ended already: finished" in flat(text)) == (2, True)
    (file,) = (stored / REQUESTS).iterdir()
    assert Request.model_validate_json(file.read_bytes()) == Request(stop="b")
    assert not read_history(run / "log").steering


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume", "S", "--trials", "3"], "holds no run"),
        (["--stop", "S/trial_0001"], "holds no run"),
        (["--finish", "RUN", "--set", NARROWED], "has no place beside --finish"),
        (["--resume", "RUN", "--set", NARROWED], "a search keeps its parameters"),
        (["--extend", "RUN"], "--trials N says how many trials to add"),
        (["--finish", "RUN", "--stop", "RUN/b"], "--finish: has no place beside --stop"),
    ],
)
def test_what_cannot_be_asked_of_a_run_is_told_in_a_sentence(told, tmp_path, options, message):
    (tmp_path / "S").mkdir()
    run = cut_off_run(tmp_path / "run")
    cut_off_run(tmp_path / "other", resources={"storage_path": str(tmp_path / "stored")})
    places = {"RUN": run, "STORED": tmp_path / "stored" / "other", "S": tmp_path / "S"}
    given = []
    for option in options:
        name, slash, rest = option.partition("/")
        given.append(f"{places.get(name, name)}{slash}{rest}")
    before = (run / "log" / EVENTS).read_bytes()
    code, text = told("sweep", *given)
    assert code == 2
    assert message in flat(text)
    assert (run / "log" / EVENTS).read_bytes() == before


SWEEP = """
name: steered
search:
  method: bayes
  trials: 5
  parameters:
    recipe.lr: {distribution: log_uniform_values, min: 1e-4, max: 1e-1}
  early_stopping: {kind: none}
"""

LR = "search.parameters.recipe.lr"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_sweep_that_is_narrowed_extended_relieved_of_a_trial_and_finished_loses_nothing(
    told, command, data_folder, small_settings, tmp_path
):
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    # An epoch of a tenth of a second: long enough for commands that come in the midst of a trial.
    lines = [*small_settings, "recipe.epochs=60", "recipe.batch_size=2"]
    lines += ["resources.max_concurrent=1"]
    small = [word for line in lines for word in ("--set", line)]
    run = tmp_path / "run"
    begin = [tmp_path / "sweep.yaml", "--data", data_folder, *small, "--out", run]

    with started(*begin) as sweep:
        wait_for_epochs(run, 3, sweep)
        code, text = told(
            "sweep", "--resume", run, "--set", f"{LR}.min=1e-3", "--set", f"{LR}.max=3e-3"
        )
        assert (code, "done  recipe.lr: min 0.001 instead of 0.0001, max 0.003" in flat(text)) == (
            0,
            True,
        )
        wait_for_epochs(run, 2, sweep)
        kill(sweep)
    with started("--resume", run) as sweep:
        wait_for_epochs(run, 2, sweep)
        code, text = told("sweep", "--resume", run, "--trials", 9)
        assert (code, "done  9 trials planned" in flat(text)) == (0, True)
        (running,) = read_history(run / "log").active
        code, text = told("sweep", "--stop", run / running)
        assert (code, f"done  {running} ends after epoch" in flat(text)) == (0, True)
        wait_for_epochs(run, 3, sweep)
        assert read_history(run / "log").trials[running].state == "stopped_by_hand"
        kill(sweep)
    code, text = told("sweep", "--status", run)
    assert f"changed {told_of(run)[-1]}" in flat(text)
    with started("--resume", run) as sweep:
        wait_for_epochs(run, 2, sweep)
        code, text = told("sweep", "--finish", run)
        assert (code, "done  the search ends" in flat(text)) == (0, True)
        assert sweep.wait(timeout=600) == 0

    check_that_nothing_is_lost(run, stopped=running)
    assert all(text in (run / "report.html").read_text() for text in told_of(run))
    (row,) = json.loads(command("runs", run, "--json").stdout)["runs"]
    assert row["changes"] == told_of(run)


def check_that_nothing_is_lost(run: Path, *, stopped: str) -> None:
    records = list(read_records(run / "log" / EVENTS))
    epochs = Counter((r.trial_id, r.epoch) for r in records if isinstance(r, EpochEnded))
    assert set(epochs.values()) == {1}
    history = History.of(records)
    assert [type(record) for _, record in history.steering] == [
        SearchChanged,
        SearchChanged,
        StopAsked,
        FinishAsked,
    ]
    assert sum(isinstance(record, RunResumed) for record in records) == 2
    assert (history.ended, history.planned_trials, len(history.looks)) == ("asked", 9, 1)
    narrowed = next(r.time for r in records if isinstance(r, SearchChanged))
    later = [r for r in records if isinstance(r, TrialStarted) and r.time > narrowed]
    searched = [r.parameters["recipe.lr"] for r in later if r.purpose == "search"]
    assert searched
    assert all(1e-3 <= lr <= 3e-3 for lr in searched)
    trial = history.trials[stopped]
    assert (trial.state, len(trial.epochs)) == ("stopped_by_hand", trial.stop_after)
    result = json.loads((run / "result.json").read_text())
    assert result["search"]["ended"] == "asked"
    assert result["search"]["trials"]["stopped_by_hand"] == 1


def told_of(run: Path) -> list[str]:
    from inat_ray.terminal.run_texts import steering_texts

    return steering_texts(read_history(run / "log").steering)


def flat(text: str) -> str:
    return " ".join(text.split()).replace("done ", "done  ")


def started(*arguments: object) -> "subprocess.Popen[bytes]":
    line = [sys.executable, "-m", "inat_ray.sweep", *map(str, arguments)]
    return subprocess.Popen(line, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def kill(sweep: "subprocess.Popen[bytes]") -> None:
    sweep.send_signal(signal.SIGKILL)
    sweep.wait()


def wait_for_epochs(run: Path, more: int, sweep: "subprocess.Popen[bytes]") -> None:
    events = run / "log" / EVENTS
    wanted = count(events) + more
    deadline = time.monotonic() + 600
    while count(events) < wanted:
        assert sweep.poll() is None, "the sweep has ended"
        assert time.monotonic() < deadline
        time.sleep(0.1)


def count(events: Path) -> int:
    return events.read_text().count('"epoch_ended"') if events.exists() else 0
