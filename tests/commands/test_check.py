import csv
import shutil

import pytest

from inat_ray.config.load import load_experiment
from inat_ray.train import run_training


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data_folder, small_settings):
    """A run of `train` that has seen the test set."""
    settings = [*small_settings, f"data.source={data_folder}", "recipe.epochs=1"]
    experiment = load_experiment(None, settings=settings)
    return run_training(tmp_path_factory.mktemp("check") / "run", experiment, test=True)[0]


def parts(run) -> set[str]:
    """The parts of the split in the table of labels."""
    with (run / "labels_to_check.csv").open(encoding="utf-8", newline="") as file:
        return {row["part"] for row in csv.DictReader(file)}


def test_a_check_leaves_two_tables_and_a_page_and_changes_nothing(trained, told):
    before = {file: file.read_bytes() for file in trained.rglob("*") if file.is_file()}
    code, text = told("check", trained, "--folds", "2")
    assert code == 0, text
    page = (trained / "check.html").read_text(encoding="utf-8")
    for part in ("validation", "test", "train"):
        assert f"Labels to check: {part}" in page
    assert "few images  ash, beech, cedar" in text  # 16 to train on, 4 to validate, 5 to test
    assert "near-duplicates  0 pairs" in text
    assert "training images are not judged" not in text
    new = {"check.html", "labels_to_check.csv", "near_duplicates.csv"}
    files = [file for file in trained.rglob("*") if file.is_file() and file.name not in new]
    assert {file: file.read_bytes() for file in files} == before


def test_without_folds_training_images_are_not_judged_and_that_is_said(trained, told):
    code, text = told("check", trained)
    assert code == 0, text
    assert "training images are not judged" in text
    assert "train" not in parts(trained)


def test_a_run_without_a_model_cannot_be_checked(trained, told, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "best.safetensors").unlink()
    code, text = told("check", tmp_path / "run")
    assert code == 2
    assert "There is no model here (best.safetensors)." in text
    code, text = told("check", tmp_path / "nothing")
    assert (code, "there is no such folder" in text) == (2, True)
