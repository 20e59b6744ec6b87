import csv
import shutil

import pytest


@pytest.fixture
def run(trained, told, tmp_path):
    """A run that has seen the test set."""
    shutil.copytree(trained, tmp_path / "run")
    assert told("evaluate", tmp_path / "run", "--test", "--out", tmp_path / "e")[0] == 0
    return tmp_path / "run"


def parts(folder) -> set[str]:
    """The parts of the split in the table of labels."""
    with (folder / "labels_to_check.csv").open(encoding="utf-8", newline="") as file:
        return {row["part"] for row in csv.DictReader(file)}


def test_a_check_leaves_two_tables_and_a_page_and_changes_nothing(run, told):
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    code, text = told("check", run, "--folds", "2")
    assert code == 0, text
    page = (run / "check.html").read_text(encoding="utf-8")
    for part in ("validation", "test", "train"):
        assert f"Labels to check: {part}" in page
    assert "few images  ash, beech, cedar" in text  # 16 to train on, 4 to validate, 5 to test
    assert "near-duplicates  0 pairs" in text
    assert str(run / "labels_to_check.csv") in text
    assert "training images are not judged" not in text
    new = {"check.html", "labels_to_check.csv", "near_duplicates.csv"}
    files = [file for file in run.rglob("*") if file.is_file() and file.name not in new]
    assert {file: file.read_bytes() for file in files} == before


def test_without_folds_training_images_are_not_judged_and_that_is_said(run, told):
    code, text = told("check", run)
    assert code == 0, text
    assert "training images are not judged" in text
    assert "train" not in parts(run)


def test_other_photographs_are_decoded_and_a_look_at_others_does_not_count(run, told, data_folder):
    other = run.parent / "photos"
    shutil.copytree(data_folder, other)
    for file in other.rglob("*.png"):
        file.rename(file.with_stem(f"new_{file.stem}"))
    code, text = told("check", run, "--data", other)
    assert code == 0, text
    assert "the run has looked at other test images than these" in text
    assert "test" not in parts(run)


def test_a_run_without_a_model_cannot_be_checked(run, told):
    (run / "best.safetensors").unlink()
    code, text = told("check", run)
    assert code == 2
    assert "There is no model here (best.safetensors)." in text
    code, text = told("check", run / "nothing")
    assert (code, "there is no such folder" in text) == (2, True)
