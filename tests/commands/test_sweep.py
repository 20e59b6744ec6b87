import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from inat_ray.config.load import load_experiment
from inat_ray.log.mirror import SEGMENTS
from inat_ray.log.run_log import read_history
from tests.commands.conftest import SECRETS

SWEEPS = Path(__file__).parents[1] / "config" / "wandb" / "sweeps"
"""Of W&B."""


def test_every_trial_ends_and_some_are_stopped_early(swept):
    history = read_history(swept[0] / "log")
    states = [trial.state for trial in history.searched]
    assert len(states) == 6
    assert set(states) == {"finished", "stopped"}


def test_the_winner_is_the_best_by_validation_and_the_test_set_is_looked_at_once(swept):
    folder, done = swept
    history = read_history(folder / "log")
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["search"]["winner"] == history.leader.trial_id
    assert history.trials["winner"].parameters == result["search"]["parameters"]
    assert len(history.looks) == 1
    assert result["test_accuracy"] == history.looks[0].accuracy


def test_the_trials_table_has_a_column_a_hyperparameter(swept):
    rows = pq.read_table(swept[0] / "trials.parquet").to_pylist()
    assert [row["purpose"] for row in rows] == ["search"] * 6 + ["final"]
    for row in rows:
        assert isinstance(row["recipe.lr"], float)
        assert isinstance(row["model.batch_norm"], bool)
        assert json.loads(row["model.filters"]) in ([4, 4, 8, 8, 8], [8] * 5)
        assert row["best_val_accuracy"] >= row["last_val_accuracy"]


def test_the_report_lies_in_the_run_and_says_what_it_lacks(swept):
    folder, done = swept
    page = (folder / "report.html").read_text(encoding="utf-8")
    lacking = re.findall(r'<p class="missing">(.*?)</p>', page)
    assert [text.partition(":")[0] for text in lacking] == ["No importance is estimated"]
    for heading in ("Leaderboard", "Rungs", "Confusion", "Grad-CAM"):
        assert heading.lower() in page.lower(), heading
    assert str(folder / "report.html") in done.stderr


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
    said = done.stderr.lower().replace("inat_ray", "").replace("loading torch and ray", "")
    assert "ray" not in said
    assert not list(folder.rglob("progress.csv"))


def test_no_secret_of_the_environment_is_in_a_file_or_a_command_line(swept_with_secrets):
    left = swept_with_secrets
    files = [
        file
        for folder in (left.folder.parent, left.rays_folder)
        for file in folder.rglob("*")
        if file.is_file() and not file.is_symlink()
    ]
    assert any(file.name == "runtime_env_agent.log" for file in files)
    places = {str(file): file.read_bytes() for file in files}
    places |= {f"a command line: {line!r}": line for line in left.command_lines}
    places["its output"] = (left.done.stdout + left.done.stderr).encode()
    found = [
        f"{name} in {place}"
        for place, content in places.items()
        for name, secret in SECRETS.items()
        if secret.encode() in content or secret[-40:].encode() in content
    ]
    assert found == []
    assert any(b"inat_ray.sweep" in line for line in left.command_lines)


def test_its_curves_can_be_given_away_as_one_file_with_their_provenance(swept, told, tmp_path):
    folder, _ = swept
    file = tmp_path / "curves.parquet"
    code, text = told("simulate", folder, "--save", file, "--note", "one machine, two cores")
    assert code == 0, text
    history, table = read_history(folder / "log"), pq.read_table(file)
    assert table.num_rows == sum(len(trial.epochs) for trial in history.searched)
    assert json.loads(table.schema.metadata[b"note"]) == "one machine, two cores"
    (run,) = json.loads(table.schema.metadata[b"runs"])
    assert (run["trials"], run["resumed"], run["images"]["train"]) == (6, 0, 48)
    assert str(folder.parents[1]).encode() not in file.read_bytes()
    code, text = told("simulate", file, "--seeds", 1, "--workers", 1)
    assert code == 0, text


AS_A_USER = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("inat_ray.sweep", run_name="__main__", alter_sys=True)
"""
"""A shell's background jobs ignore Ctrl-C; this suite may be one, and its sweep must not."""


def started(
    arguments: list[str], folder: Path, *, epochs: int = 5000, after: int = 3
) -> "subprocess.Popen[str]":
    """A sweep in a process group of its own, once more than `after` epochs are in the log."""
    line = [sys.executable, "-c", AS_A_USER, *arguments, "--out", str(folder)]
    line += ["--set", f"recipe.epochs={epochs}"]
    if epochs > 100:
        line += ["--set", "search.early_stopping={kind: none}"]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        log = folder / "log" / "events.jsonl"
        if log.exists() and log.read_text().count("epoch_ended") > after:
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


def curves(folder: Path) -> dict:
    """Trial -> its parameters, state and metrics by epoch."""
    history = read_history(folder / "log")
    return {
        name: (t.parameters, t.seed, t.state, t.values("train_loss"), t.values("val_accuracy"))
        for name, t in history.trials.items()
    }


@pytest.mark.slow
def test_killed_outright_moved_and_resumed_it_ends_as_if_nothing_had_happened(
    arguments, command, told, tmp_path
):
    """One trial at a time, a torn last line, a checkpoint that is gone."""
    alone = [*arguments, "--set", "resources.max_concurrent=1", "--set", "recipe.epochs=4"]
    whole = command("sweep", *alone, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    process = started(alone, tmp_path / "cut", epochs=4, after=3)
    process.kill()
    process.communicate(timeout=60)
    events = tmp_path / "cut" / "log" / "events.jsonl"
    kept = events.read_bytes().count(b"epoch_ended")
    assert kept < sum(len(losses) for *_, losses, _ in curves(tmp_path / "whole").values())
    with events.open("ab") as file:
        file.write(b'{"kind":"epoch_ended","trial_id":"tri')
    (tmp_path / "cut").rename(tmp_path / "moved")
    resumed = command("sweep", "--resume", tmp_path / "moved")
    assert resumed.returncode == 0, resumed.stderr
    assert curves(tmp_path / "moved") == curves(tmp_path / "whole")
    code, text = told("sweep", "--resume", tmp_path / "moved")
    assert code == 2
    assert "the sweep is complete; --resume" in " ".join(text.split())


@pytest.mark.slow
def test_a_full_disk_ends_a_sweep_that_goes_on_once_there_is_room(arguments, command, small_disk):
    filler, run = small_disk / "filler", small_disk / "run"
    filler.write_bytes(bytes(950_000))
    full = command("sweep", *arguments, "--out", run, "--set", "resources.max_concurrent=1")
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    assert "can be resumed once there is room" in " ".join(full.stderr.split())
    filler.unlink()
    resumed = command("sweep", "--resume", run)
    assert resumed.returncode == 0, resumed.stderr
    assert len(read_history(run / "log").searched) == 6


@pytest.mark.slow
def test_relative_paths_are_those_of_the_folder_that_a_sweep_is_started_in(
    arguments, data_folder, command, tmp_path
):
    shutil.copytree(data_folder, tmp_path / "photos")
    relative = ["--data", "photos", "--set", "data.cache=cache", "--set", "search.trials=1"]
    done = command("sweep", *arguments, *relative, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(read_history(tmp_path / "run" / "log").searched) == 1


@pytest.mark.slow
def test_an_extended_sweep_has_more_trials_and_says_how_often_it_looked(swept, command, tmp_path):
    folder, _ = swept
    run = tmp_path / "extended"
    shutil.copytree(folder, run)
    extended = command("sweep", "--extend", run, "--trials", 2, "--json")
    assert extended.returncode == 0, extended.stderr
    before, after = curves(folder), curves(run)
    assert sum(name.startswith("trial_") for name in after) == 8
    assert {name: after[name] for name in before} == before
    result = json.loads(extended.stdout.splitlines()[-1])
    finals = [name for name in after if name.startswith("winner")]
    assert result["test_looks"] == len(finals)
    purposes = pq.read_table(run / "trials.parquet")["purpose"].to_pylist()
    assert purposes.count("search") == 8


@pytest.mark.slow
def test_a_picked_trial_becomes_the_runs_model_and_every_place_says_so(swept, command, tmp_path):
    folder, _ = swept
    run = tmp_path / "picked"
    shutil.copytree(folder, run)
    worst = read_history(folder / "log").leaderboard()[-1]
    picked = command("sweep", "--resume", run, "--pick", worst.trial_id, "--json")
    assert picked.returncode == 0, picked.stderr
    result = json.loads(picked.stdout.splitlines()[-1])
    assert (result["training"], result["test_looks"]) == ("pick_2", 2)
    assert result["search"]["picked"] == worst.trial_id
    assert load_experiment(run / "best.yaml").recipe.lr == worst.parameters["recipe.lr"]
    history = read_history(run / "log")
    assert [look.accuracy for look in history.looks][1:] == [result["test_accuracy"]]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert f"{worst.trial_id} is trained for the model instead of the winner" in page
    assert "2: the newest counts" in page
    assert "2: the newest counts" in picked.stderr
    again = command("sweep", "--resume", run, "--pick", worst.trial_id)
    assert again.returncode == 2
    assert "is of that trial already" in " ".join(again.stderr.split())


@pytest.mark.parametrize("option", ["--resume", "--extend"])
@pytest.mark.parametrize("stored", ["S/run", "s3://bucket/run"])
def test_a_dry_run_brings_no_run_from_its_storage(told, tmp_path, monkeypatch, option, stored):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "S" / "run" / SEGMENTS).mkdir(parents=True)
    code, text = told("sweep", option, stored, "--dry-run")
    assert code == 2
    assert f"--dry-run: leaves no run here, and {stored} would be brought" in " ".join(text.split())
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_what_the_sweep_beside_has_found_is_told_to_the_searcher(swept, arguments, command):
    folder, _ = swept
    warm = ["--warm-start", "auto", "--set", "search.trials=1", "--out", folder.parent / "warm"]
    done = command("sweep", *arguments, *warm, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "6/6" in done.stderr
    assert not (folder.parent / "warm").exists()
    done = command("sweep", *arguments, *warm)
    assert done.returncode == 0, done.stderr
    assert len(read_history(folder.parent / "warm" / "log").known) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume", "nowhere"], "--resume nowhere: holds no run"),
        (["--extend", "RUN"], "--trials N says how many trials to add"),
        (["--resume", "RUN"], "the sweep is complete"),
        (["--resume", "RUN", "--trials", "0"], "--trials 0: 1 to 100,000 are allowed"),
        (["--resume", "RUN", "--trials", "6"], "has ended after 6 trials"),
        (["--finish", "RUN"], "the sweep is complete"),
        (["--finish", "RUN", "--trials", "9"], "--trials: has no place beside --finish"),
        (["--finish", "RUN", "--resume", "RUN"], "--finish: has no place beside --resume"),
        (["--stop", "trial_0001"], "RUN/TRIAL is allowed"),
        (["--stop", "RUN/trial_0001"], "trial_0001: has ended already: "),
        (["--stop", "RUN/trial_9"], "--stop trial_9: the run has no trial of that name"),
        (["--stop", "RUN/winner"], "--stop winner: is no trial of the search"),
        (["--stop", "nowhere/trial_0001"], "nowhere"),
        (["--resume", "RUN", "--set", "recipe.lr=0.5"], "recipe.lr: 0.003 before, 0.5 now"),
        (["--pick", "trial_0001"], "--pick trial_0001: needs --resume RUN"),
        (["--pick", "trial_0099", "--resume", "RUN"], "its trials are trial_0000 to trial_0005"),
        (["--pick", "winner", "--resume", "RUN", "--dry-run"], "--dry-run: has no place beside"),
        (["--pick", "trial_0001", "--resume", "nowhere"], "--resume nowhere: holds no run"),
        (["--extend", "RUN", "--trials", "2", "--seed", "9"], "seed: 0 before, 9 now"),
        (["--resume", "RUN", "--out", "elsewhere"], "--out: has no place beside --resume"),
        (
            ["--warm-start", "RUN", "--set", "search.method=random"],
            "only search.method bayes learns from other runs",
        ),
    ],
)
def test_what_cannot_go_on_is_told_before_anything_begins(swept, told, options, message):
    given = [option.replace("RUN", str(swept[0])) for option in options]
    code, text = told("sweep", *given)
    assert code == 2
    assert message in " ".join(text.split())


def test_a_wandb_sweep_is_shown_and_saved_before_anything_begins(told, tmp_path):
    sweep, saved = SWEEPS / "cnn_assignment.yaml", tmp_path / "mine.yaml"
    given = ["--data", tmp_path / "nowhere", "--trials", 4]
    code, text = told("sweep", sweep, *given, "--save-experiment", saved)
    assert code == 2
    assert "nowhere: there is no such folder" in text
    words = " ".join(text.split())
    assert "a W&B sweep, read as an experiment" in words
    assert re.search(r"parameters.dense_size +model.dense +\{values: \[128, 256\]\}", text)
    assert "not run: inat_ray trains its own networks" in words.replace("\n", " ")
    assert "model.kind cnn, recipe.momentum 0.9, recipe.weight_decay 0.05" in words
    experiment = load_experiment(saved)
    assert experiment.search.trials == 4
    trials = {"search.trials": ("--trials", 4), "data.source": ("--data", str(given[1]))}
    assert experiment == load_experiment(sweep, options=trials)
    code, text = told("sweep", sweep, *given, "--save-experiment", saved)
    assert (code, "is there already, and stays" in " ".join(text.split())) == (2, True)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (["parameters.rnn=null", "parameters.opt.values=[adam]"], "there is no such folder"),
        (["parameters.rnn=null", ""], "--set 'parameters.opt.values=[adam]' goes on without it"),
    ],
)
def test_what_a_wandb_sweep_leaves_open_is_asked_on_a_terminal(
    told, tmp_path, monkeypatch, answers, message
):
    sweep, left = tmp_path / "sweep.yaml", iter(answers)
    sweep.write_text(
        "{method: random, parameters: {lr: {min: 0.1, max: 0.2}, rnn: {value: gru},"
        " opt: {values: [adam, lion]}}}"
    )
    code, text = told("sweep", sweep, "--data", tmp_path / "nowhere")
    assert code == 2
    assert text.count("--set") == 2
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: next(left))
    code, text = told("sweep", sweep, "--data", tmp_path / "nowhere")
    assert code == 2
    assert "parameters.rnn: there is no setting of that name here" in " ".join(text.split())
    assert message in " ".join(text.split())
    assert list(left) == []


@pytest.mark.slow
def test_a_wandb_sweep_is_searched(command, data_folder, pack_cache, tmp_path):
    small = [
        *("parameters.num_filters.value=4", "parameters.img_size.value=32"),
        *("parameters.epochs.value=2", "parameters.dense_size.values=[8, 16]"),
        *("parameters.batch_size.value=8", "early_terminate.min_iter=1"),
        *(f"data.cache={pack_cache}", "search.trials=4"),
    ]
    lines = [word for line in small for word in ("--set", line)]
    run = tmp_path / "run"
    sweep = SWEEPS / "cnn_assignment.yaml"
    done = command("sweep", sweep, "--data", data_folder, *lines, "--out", run, "--json")
    assert done.returncode == 0, done.stderr
    history = read_history(run / "log")
    assert len(history.searched) == 4
    assert {trial.seed for trial in history.searched} == {42}
    filters = [trial.parameters["model.filters"] for trial in history.searched]
    assert all(each in ([4] * 5, [4, 8, 16, 32, 64], [4, 2, 1, 1, 1]) for each in filters)
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["search"]["parameters"].keys() == history.searched[0].parameters.keys()
