import json

import pyarrow.parquet as pq
import pytest

from inat_ray.config.load import load_experiment
from inat_ray.tuning.run_log import read_history


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


def test_the_run_can_be_repeated_from_what_it_left(trained, command, tmp_path):
    folder, _ = trained
    again = command("train", folder / "experiment.yaml", "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
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


def test_evaluate_gives_what_training_saw_and_needs_no_data_option(trained, command, tmp_path):
    folder, _ = trained
    done = command("evaluate", folder, "--out", tmp_path / "e", "--json")
    assert done.returncode == 0, done.stderr
    evaluated = json.loads(done.stdout.splitlines()[-1])
    result = json.loads((folder / "result.json").read_text())
    assert evaluated["val_accuracy"] == pytest.approx(result["val_accuracy"])
    assert evaluated["val_loss"] == pytest.approx(result["val_loss"], rel=1e-4)
    assert "test_accuracy" not in evaluated


def test_every_further_look_is_counted_by_the_run_of_the_model(trained, command, tmp_path):
    folder, _ = trained
    before = len(read_history(folder / "log").looks)
    done = command(
        "evaluate", folder / "best.safetensors", "--test", "--out", tmp_path / "e", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["test_looks"] == before + 1
    assert len(read_history(folder / "log").looks) == before + 1


def test_evaluate_refuses_data_of_other_classes(trained, command, tmp_path, small_settings):
    done = command("evaluate", trained[0], "--data", "demo", "--out", tmp_path / "e")
    assert done.returncode == 2
    assert "was trained on ash, beech, cedar" in " ".join(done.stderr.split())
    assert not (tmp_path / "e").exists()


def test_the_models_experiment_stands_beside_it(trained):
    folder, _ = trained
    assert load_experiment(folder / "best.yaml") == load_experiment(folder / "experiment.yaml")


def test_prepare_says_what_it_found(command, data_folder, small_settings, tmp_path):
    settings = [arg for line in small_settings for arg in ("--set", line)]
    done = command("prepare", "--data", data_folder, "--out", tmp_path / "p", "--json", *settings)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["images"] == {"train": 48, "validation": 12, "test": 15}
    assert result["classes"] == ["ash", "beech", "cedar"]
    split = json.loads((tmp_path / "p" / "split.json").read_text())
    assert len(split["train"]) == 48
