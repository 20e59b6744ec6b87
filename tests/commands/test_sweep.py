import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from inat_ray.config.load import load_experiment
from inat_ray.tuning.run_log import read_history

EXPERIMENT = """
search:
  method: bayes
  trials: 6
  parameters:
    recipe.lr: {distribution: log_uniform_values, min: 1e-4, max: 1e-1}
    model.filters: {values: [[4, 4, 8, 8, 8], [8, 8, 8, 8, 8]]}
    model.batch_norm: {values: [true, false]}
  early_stopping: {kind: asha, min_epochs: 1, reduction_factor: 2}
"""


@pytest.fixture(scope="module")
def arguments(tmp_path_factory, data_folder, small_settings) -> list[str]:
    """Of a small sweep on photographs, but for --out."""
    path = tmp_path_factory.mktemp("experiment") / "small.yaml"
    path.write_text("name: small" + EXPERIMENT)
    settings = [arg for line in small_settings for arg in ("--set", line)]
    return [str(path), "--data", str(data_folder), *settings]


@pytest.fixture(scope="module")
def swept(tmp_path_factory, command, arguments):
    """A run of that sweep: (folder, completed process)."""
    folder = tmp_path_factory.mktemp("sweep") / "run"
    done = command("sweep", *arguments, "--out", folder, "--json")
    assert done.returncode == 0, done.stderr
    return folder, done


def test_every_trial_ends_and_some_are_stopped_early(swept):
    history = read_history(swept[0] / "log")
    states = [trial.state for trial in history.searched]
    assert len(states) == 6
    assert set(states) == {"finished", "stopped"}


def test_the_winner_is_the_best_by_validation_and_the_test_set_is_looked_at_once(swept):
    folder, done = swept
    history = read_history(folder / "log")
    result = json.loads(done.stdout.splitlines()[-1])
    best = max(trial.best("val_accuracy", "maximize").val_accuracy for trial in history.searched)
    assert result["search"]["val_accuracy"] == best
    assert history.trials["winner"].parameters == result["search"]["parameters"]
    assert len(history.looks) == 1
    assert result["test_accuracy"] == history.looks[0].accuracy


def test_the_trials_table_has_a_column_a_hyperparameter(swept):
    rows = pq.read_table(swept[0] / "trials.parquet").to_pylist()
    assert len(rows) == 6
    for row in rows:
        assert isinstance(row["recipe.lr"], float)
        assert isinstance(row["model.batch_norm"], bool)
        assert json.loads(row["model.filters"]) in ([4, 4, 8, 8, 8], [8] * 5)
        assert row["best_val_accuracy"] >= row["last_val_accuracy"]


def test_the_winners_experiment_alone_trains_it_again(swept):
    folder, _ = swept
    winner = read_history(folder / "log").trials["winner"]
    experiment = load_experiment(folder / "best.yaml")
    assert experiment.recipe.lr == winner.parameters["recipe.lr"]
    assert experiment.seed == winner.seed


def test_what_trials_would_go_on_from_is_gone_when_the_search_is_over(swept):
    assert not (swept[0] / "checkpoints").exists()


def test_nothing_of_rays_own_is_printed_or_left(swept):
    folder, done = swept
    assert "ray" not in done.stderr.lower().replace("inat_ray", "")
    assert not list(folder.rglob("progress.csv"))


AS_A_USER = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("inat_ray.sweep", run_name="__main__", alter_sys=True)
"""
"""A shell's background jobs ignore Ctrl-C; this suite may be one, and its sweep must not."""


def started(arguments: list[str], folder: Path) -> "subprocess.Popen[str]":
    """A long sweep in a process group of its own, once its first epochs are in the log."""
    line = [sys.executable, "-c", AS_A_USER, *arguments, "--out", str(folder)]
    line += ["--set", "recipe.epochs=5000", "--set", "search.early_stopping={kind: none}"]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        log = folder / "log" / "events.jsonl"
        if log.exists() and log.read_text().count("epoch_ended") > 3:
            return process
        time.sleep(0.1)
    process.kill()
    raise AssertionError(f"the sweep never got to its first epochs: {process.stderr.read()}")


def test_ctrl_c_ends_cleanly_and_says_what_is_kept(arguments, tmp_path):
    process = started(arguments, tmp_path / "run")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    history = read_history(tmp_path / "run" / "log")
    epochs = sum(len(trial.epochs) for trial in history.searched)
    assert process.returncode == 130
    assert f"{epochs} epochs" in told
    assert "Traceback" not in told
    assert {trial.state for trial in history.searched} == {"interrupted"}
    assert pq.read_table(tmp_path / "run" / "epochs.parquet").num_rows == epochs


def test_killed_outright_it_has_kept_every_completed_epoch(arguments, tmp_path):
    process = started(arguments, tmp_path / "run")
    process.kill()
    process.communicate(timeout=60)
    history = read_history(tmp_path / "run" / "log")
    for trial in history.searched:
        assert [epoch.epoch for epoch in trial.epochs] == list(range(1, len(trial.epochs) + 1))
        if trial.epochs:
            assert (tmp_path / "run" / trial.epochs[-1].checkpoint).exists()
