import json

import pytest

from inat_ray.data import dataset
from inat_ray.log.run_log import read_history
from inat_ray.run.claim import reclaimed
from inat_ray.training.predictions import read_predictions
from inat_ray.training.scores import assess


def test_a_split_leaves_predictions_numbers_and_a_page(trained, told, tmp_path):
    code, text = told("evaluate", trained, "--split", "train", "--out", tmp_path / "e", "--json")
    assert code == 0, text
    result = json.loads(text.splitlines()[-1])
    assert json.loads((tmp_path / "e" / "result.json").read_text()) == result
    assert result["predictions"] == str(tmp_path / "e" / "train_predictions.parquet")
    found = assess(read_predictions(tmp_path / "e" / "train_predictions.parquet"))
    assert (found.images, result["train_images"]) == (48, 48)
    assert result["train_accuracy"] == pytest.approx(found.accuracy)
    assert result["train_accuracy_interval"] == pytest.approx(found.accuracy_interval)
    assert result["train_loss"] == pytest.approx(found.loss, rel=1e-5)
    assert result["train_balanced_accuracy"] == pytest.approx(found.macro_recall)
    assert result["train_ece"] == pytest.approx(found.ece)
    assert set(result["train_classes"]) == {"ash", "beech", "cedar"}
    assert result["parameters"] > 0
    page = (tmp_path / "e" / "report.html").read_text(encoding="utf-8")
    low, high = (f"{100 * end:.1f}" for end in found.accuracy_interval)
    assert f"(95 % interval {low} to {high} %)" in page
    assert page.count("data:image/jpeg") >= 30
    assert read_history(trained / "log").looks == []


def test_the_tables_tell_the_interval_the_classes_and_the_page(trained, told, tmp_path):
    code, text = told("evaluate", trained, "--out", tmp_path / "e")
    assert code == 0, text
    words = " ".join(text.split())
    assert "(95 % interval), 12 images" in words
    assert "class images precision recall F1" in words
    assert f"Report: {tmp_path / 'e' / 'report.html'}" in words


@pytest.mark.parametrize("option", [["--test"], ["--split", "test"], ["--test", "--split", "test"]])
def test_a_look_at_the_test_set_is_counted_however_it_is_asked_for(trained, told, tmp_path, option):
    before = len(read_history(trained / "log").looks)
    code, text = told("evaluate", trained, *option, "--out", tmp_path / "e", "--json")
    assert code == 0, text
    result = json.loads(text.splitlines()[-1])
    look = read_history(trained / "log").looks[-1]
    assert result["test_looks"] == before + 1
    assert (result["test_accuracy"], result["test_ece"]) == (look.accuracy, look.ece)
    assert result["predictions"] == str(trained / look.predictions)
    found = assess(read_predictions(trained / look.predictions))
    assert (look.accuracy, look.ece) == (pytest.approx(found.accuracy), pytest.approx(found.ece))
    assert result["test_accuracy_interval"] == pytest.approx(found.accuracy_interval)
    assert (tmp_path / "e" / "report.html").exists()


def test_test_and_another_split_contradict_each_other(trained, told, tmp_path):
    code, text = told("evaluate", trained, "--test", "--split", "train", "--out", tmp_path / "e")
    assert code == 2
    assert "--test: looks at the test images, and --split train at others" in " ".join(text.split())
    assert not (tmp_path / "e").exists()


def test_a_look_at_a_run_that_is_at_work_replaces_nothing(trained, told, tmp_path):
    code, text = told("evaluate", trained, "--out", tmp_path / "e")
    assert code == 0, text
    before = (tmp_path / "e" / "result.json").read_bytes()
    with reclaimed(trained):
        code, text = told("evaluate", trained, "--test", "--out", tmp_path / "e", "--overwrite")
    assert code == 2
    assert "another process is at work" in " ".join(text.split())
    assert (tmp_path / "e" / "result.json").read_bytes() == before


def test_images_are_shown_to_the_model_as_the_settings_say(trained, told, tmp_path):
    losses = []
    for number, settings in enumerate(([], ["--set", "recipe.flip_average=true"])):
        folder = tmp_path / f"{number}"
        code, text = told("evaluate", trained, *settings, "--out", folder, "--json")
        assert code == 0, text
        losses.append(json.loads(text.splitlines()[-1])["val_loss"])
    assert losses[0] != losses[1]


def test_what_shows_the_same_images_decodes_nothing(trained, told, tmp_path, monkeypatch):
    asked = []
    real = dataset.open_dataset

    def open_dataset(config, *, progress=False, build=True):
        asked.append(build)
        return real(config, progress=progress, build=build)

    monkeypatch.setattr(dataset, "open_dataset", open_dataset)
    for setting in ("recipe.flip_average=true", "data.share=0.5"):
        code, text = told("evaluate", trained, "--set", setting, "--out", tmp_path / setting[:4])
        assert code == 0, text
    assert asked == [False, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--set", "recipe.lr=0.5"],
            "recipe.lr: 0.003 before, 0.5 now: has no part in an evaluation of this model",
        ),
        (["--set", "model.dense=7"], "has no part in an evaluation"),
        (
            ["--test", "--set", "recipe.flip_average=true"],
            "the test is of a model as it was trained and chosen",
        ),
        (["--set", "data.image_size=64"], "does not run on images of 64 x 64 pixels"),
    ],
)
def test_a_setting_that_an_evaluation_would_not_follow_is_refused(
    trained, told, tmp_path, options, message
):
    looks = len(read_history(trained / "log").looks)
    code, text = told("evaluate", trained, *options, "--out", tmp_path / "e")
    assert code == 2
    assert message in " ".join(text.split())
    assert not (tmp_path / "e").exists()
    assert len(read_history(trained / "log").looks) == looks
