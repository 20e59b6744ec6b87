import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.log.records import EpochEnded
from inat_ray.log.run_log import EVENTS, RunLog, read_history, read_records
from inat_ray.run.claim import reclaimed
from tests.run.made_up_runs import create_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory, command, data_folder, small_settings):
    """A run of `train --test` on photographs: (folder, completed process)."""
    folder = tmp_path_factory.mktemp("train") / "run"
    settings = [arg for line in small_settings for arg in ("--set", line)]
    done = command(
        "train", "--data", data_folder, "--out", folder, "--seed", 3, "--test", "--json", *settings
    )
    assert done.returncode == 0, done.stderr
    return folder, done


def test_the_result_has_every_number_and_is_the_last_line(trained):
    folder, done = trained
    result = json.loads((folder / "result.json").read_text())
    assert json.loads(done.stdout.splitlines()[-1]) == result
    wanted = {
        "val_accuracy", "val_loss", "epochs", "seconds", "images_per_second", "parameters",
        "macs", "seed", "versions", "test_accuracy", "test_loss",
    }  # fmt: skip
    assert wanted <= set(result)
    assert (result["seed"], result["epochs"], result["test_images"]) == (3, 2, 15)


def test_the_tables_hold_the_trial_and_its_epochs(trained):
    folder, _ = trained
    [trial] = pq.read_table(folder / "trials.parquet").to_pylist()
    assert (trial["state"], trial["seed"], trial["epochs"]) == ("finished", 3, 2)
    epochs = pq.read_table(folder / "epochs.parquet").to_pylist()
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]


def test_the_run_can_be_repeated_from_what_it_left(trained, told, tmp_path):
    folder, _ = trained
    code, text = told("train", folder / "experiment.yaml", "--out", tmp_path / "again")
    assert code == 0, text
    first, second = (
        pq.read_table(run / "epochs.parquet").select(["train_loss", "val_loss", "val_accuracy"])
        for run in (folder, tmp_path / "again")
    )
    assert first == second


def test_the_look_at_the_test_set_is_recorded_with_its_predictions(trained):
    folder, _ = trained
    [look] = read_history(folder / "log").looks
    predictions = pq.read_table(folder / look.predictions).to_pylist()
    right = sum(row["truth"] == row["prediction"] for row in predictions)
    assert right / len(predictions) == pytest.approx(look.accuracy)


def test_evaluate_gives_what_training_saw_and_needs_no_data_option(trained, told, tmp_path):
    folder, _ = trained
    code, text = told("evaluate", folder, "--out", tmp_path / "e", "--json")
    assert code == 0, text
    evaluated = json.loads(text.splitlines()[-1])
    result = json.loads((folder / "result.json").read_text())
    assert evaluated["val_accuracy"] == pytest.approx(result["val_accuracy"])
    # The loss is less by the temperature, which was fitted to these images after the epoch.
    assert evaluated["temperatures"] == result["temperatures"] != [1]
    assert 0.9 * result["val_loss"] < evaluated["val_loss"] < result["val_loss"]
    assert "test_accuracy" not in evaluated


def test_every_further_look_is_counted_by_the_run_of_the_model(trained, told, tmp_path):
    folder, _ = trained
    before = len(read_history(folder / "log").looks)
    code, text = told(
        "evaluate", folder / "best.safetensors", "--test", "--out", tmp_path / "e", "--json"
    )
    assert code == 0, text
    assert json.loads(text.splitlines()[-1])["test_looks"] == before + 1
    assert len(read_history(folder / "log").looks) == before + 1


def test_evaluate_refuses_data_of_other_classes(trained, told, tmp_path):
    code, text = told("evaluate", trained[0], "--data", "demo", "--out", tmp_path / "e")
    assert code == 2
    said = " ".join(text.split())
    assert "was trained on other classes; the data lacks ash, beech, cedar and has " in said
    assert said.endswith(" and 5 more")  # of ten that are drawn
    assert not (tmp_path / "e").exists()


def test_the_models_experiment_stands_beside_it(trained):
    folder, _ = trained
    assert load_experiment(folder / "best.yaml") == load_experiment(folder / "experiment.yaml")


LONG = "recipe.epochs=40"


def lines_of_epochs(folder: Path) -> list[tuple[int, float, float, float]]:
    """(epoch, losses, validation accuracy) of every epoch in the log, repeated ones too."""
    return [
        (r.epoch, r.train_loss, r.val_loss, r.val_accuracy)
        for r in read_records(folder / "log" / EVENTS)
        if isinstance(r, EpochEnded)
    ]


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_as_if_nothing_had_happened(
    start_command, command, told, data_folder, small_settings, tmp_path
):
    settings = [arg for line in (*small_settings, LONG) for arg in ("--set", line)]
    first = start_command("train", "--data", data_folder, "--out", tmp_path / "cut", *settings)
    log = tmp_path / "cut" / "log" / EVENTS
    while not (log.exists() and len(lines_of_epochs(tmp_path / "cut")) > 1):
        assert first.poll() is None
    first.kill()
    first.wait()
    cut_off = len(lines_of_epochs(tmp_path / "cut"))
    assert cut_off < 40
    resumed = command("train", "--resume", tmp_path / "cut")
    assert resumed.returncode == 0, resumed.stderr
    assert f"resumes after epoch {cut_off}" in resumed.stderr
    whole = command("train", "--data", data_folder, "--out", tmp_path / "whole", *settings)
    assert whole.returncode == 0, whole.stderr
    assert lines_of_epochs(tmp_path / "cut") == lines_of_epochs(tmp_path / "whole")
    models = [load_file(tmp_path / name / "best.safetensors") for name in ("cut", "whole")]
    assert all(models[0][name].equal(models[1][name]) for name in models[0])
    results = [json.loads((tmp_path / n / "result.json").read_text()) for n in ("cut", "whole")]
    assert results[0]["best_epoch"] == results[1]["best_epoch"]
    code, text = told("train", "--resume", tmp_path / "cut")
    assert code == 2
    assert "is over (finished)" in " ".join(text.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume", "nothing"], "--resume nothing: holds no run"),
        (["--resume", "nothing", "--seed", "1"], "goes on with the run's own experiment"),
        (["--gpus-per-worker", "1"], "there is no GPU to train on"),
        (
            ["--set", "model={kind: resnet, weights: there/is/none.pth}"],
            "there/is/none.pth: there is no such file",
        ),
        (
            ["--set", "model={kind: resnet, freeze: {strategy: fraction, fraction: 1.5}}"],
            "model.freeze.fraction: 1.5: should be less than 1",
        ),
        (["--workers", "65"], "recipe.batch_size 64 is split over 65 workers"),
    ],
    ids=["no run", "resume and a seed", "no gpu", "no weights", "fraction", "workers and batch"],
)
def test_what_cannot_be_is_told_before_anything_begins(
    told, tmp_path, monkeypatch, options, message
):
    if "--gpus-per-worker" in options and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.chdir(tmp_path)
    code, text = told("train", *options)
    assert code == 2
    assert message in " ".join(text.split())
    assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_more_workers_than_there_are_cores_are_refused(command, tmp_path):
    done = command("train", "--data", "demo", "--workers", 4000, "--set", "recipe.batch_size=4000")
    assert done.returncode == 2
    assert "4000 workers of 1 CPU wanted" in " ".join(done.stderr.split())


def test_a_frozen_resnet_trains_and_says_what_of_it_does(told, data_folder, pack_cache, tmp_path):
    code, text = told(
        "train", "--data", data_folder, "--out", tmp_path / "run", "--json",
        "--set", f"data.cache={pack_cache}", "--set", "data.image_size=32",
        "--set", "model={kind: resnet, backbone: resnet18, weights: none}",
        "--set", "model.freeze={strategy: fraction, fraction: 0.5}",
        "--set", "recipe.epochs=1", "--set", "recipe.batch_size=8",
    )  # fmt: skip
    assert code == 0, text
    result = json.loads(text.splitlines()[-1])
    assert 0 < result["trainable_parameters"] < result["parameters"]
    said = " ".join(text.split())
    assert "resnet18: freeze fraction (fraction 0.5)" in said
    assert "layers 11 10" in said
    code, text = told("evaluate", tmp_path / "run", "--out", tmp_path / "e", "--json")
    assert code == 0, text
    accuracy = json.loads(text.splitlines()[-1])["val_accuracy"]
    assert accuracy == pytest.approx(result["val_accuracy"])


@pytest.mark.slow
def test_a_killed_driver_of_two_workers_loses_an_epoch_at_most(
    start_command, command, data_folder, small_settings, tmp_path
):
    lines = (*small_settings, "recipe.epochs=30", "model.dropout=0.3")
    settings = [arg for line in lines for arg in ("--set", line)]
    options = ["--data", data_folder, "--workers", 2, *settings]
    first = start_command("train", *options, "--out", tmp_path / "cut")
    log = tmp_path / "cut" / "log" / EVENTS
    while not (log.exists() and len(lines_of_epochs(tmp_path / "cut")) > 2):
        assert first.poll() is None
    first.kill()
    first.wait()
    resumed = command("train", "--resume", tmp_path / "cut")
    assert resumed.returncode == 0, resumed.stderr
    whole = command("train", *options, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    assert lines_of_epochs(tmp_path / "cut") == lines_of_epochs(tmp_path / "whole")


def test_a_run_folder_that_vanishes_while_it_trains_ends_it_with_a_sentence(
    told, monkeypatch, data_folder, small_settings, tmp_path
):
    append = RunLog.append

    def then_it_is_gone(log, record) -> None:
        append(log, record)
        if isinstance(record, EpochEnded):
            shutil.rmtree(tmp_path / "run")

    monkeypatch.setattr(RunLog, "append", then_it_is_gone)
    settings = [arg for line in small_settings for arg in ("--set", line)]
    code, text = told("train", "--data", data_folder, "--out", tmp_path / "run", *settings)
    assert code == 1, text
    assert "error:" in text.splitlines()[-1]
    assert "was removed" in text.splitlines()[-1]
    assert "Traceback" not in text


@pytest.mark.parametrize("name", ["train", "sweep", "evaluate", "prepare"])
def test_no_command_replaces_a_live_run(trained, told, data_folder, tmp_path, name):
    run = create_run(tmp_path / "live", Experiment(name="live"), overwrite=False)
    first = [trained[0]] if name == "evaluate" else []
    with reclaimed(run.path):
        code, text = told(name, *first, "--data", data_folder, "--out", run.path, "--overwrite")
    assert (code, "another process is at work on this run" in text) == (2, True), text
    assert load_experiment(run.experiment).name == "live"


def test_an_evaluation_does_not_replace_the_run_of_its_model(trained, told):
    folder, _ = trained
    code, text = told("evaluate", folder, "--out", folder, "--overwrite")
    assert (code, "holds the model" in text) == (2, True), text
    assert (folder / "best.safetensors").exists()
