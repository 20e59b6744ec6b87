import json
import shutil

import pyarrow.parquet as pq
import pytest
from PIL import Image

CLASSES = ["ash", "beech", "cedar"]


@pytest.fixture(scope="module")
def model(save_untrained, tmp_path_factory):
    """In a run folder, evaluated with mirror images too."""
    folder = tmp_path_factory.mktemp("predict") / "run"
    save_untrained(folder / "best.safetensors", "recipe.flip_average=true", "data.fit=pad")
    return folder


def lines_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_probabilities_are_those_of_evaluation(model, told, data_folder, tmp_path):
    code, text = told("evaluate", model, "--split", "train", "--out", tmp_path / "e")
    assert code == 0, text
    code, text = told("predict", model, data_folder / "train", "--out", tmp_path / "p.parquet")
    assert code == 0, text
    [file] = (tmp_path / "e").glob("train_predictions.parquet")
    evaluated, predicted = pq.read_table(file), pq.read_table(tmp_path / "p.parquet")
    probabilities = {
        path.removeprefix(f"{data_folder}/"): row
        for path, row in zip(*columns(predicted, "path", "probabilities"), strict=True)
    }
    names, rows = columns(evaluated, evaluated.column_names[0], "probabilities")
    assert len(names) == 48
    for name, row in zip(names, rows, strict=True):
        assert probabilities[name] == pytest.approx(row, abs=1e-6)
    spread = [max(row) - min(row) for row in rows]
    assert max(spread) > 1e-3  # or all models would agree
    assert predicted.schema.metadata == {b"classes": b'["ash", "beech", "cedar"]'}


def columns(table, *names):
    return [table[name].to_pylist() for name in names]


def test_a_photograph_has_its_likeliest_classes_first(model, told, data_folder):
    photograph = data_folder / "val" / "ash" / "00.png"
    code, text = told("predict", model / "best.safetensors", photograph, "--json", "--top", 2)
    assert code == 0, text
    [line] = lines_of(text)
    assert line["image"] == str(photograph)
    [first, second] = line["top"]
    assert first["class"] == line["prediction"]
    assert first["class"] in CLASSES
    assert 1 > first["probability"] >= second["probability"] > 0


def test_on_a_terminal_it_is_a_table(model, told, data_folder):
    code, text = told("predict", model, data_folder / "val" / "ash" / "00.png", "--top", 9)
    assert code == 0
    assert all(name in text for name in CLASSES)
    assert text.count("%") == 3
    code, text = told("predict", model, data_folder / "val")
    assert code == 0
    assert "15 photographs: " in text


def test_relative_and_absolute_paths_go_together(model, told, data_folder, tmp_path, monkeypatch):
    shutil.copy(data_folder / "val" / "ash" / "00.png", tmp_path / "new.png")
    monkeypatch.chdir(tmp_path)
    code, text = told("predict", model, "new.png", data_folder / "val" / "ash")
    assert code == 0, text
    assert "6 photographs" in text


def test_what_cannot_be_read_is_named_and_left_out(model, told, data_folder, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(data_folder / "val" / "ash", folder / "deep" / "down")
    (folder / "bad.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("passed over")
    (folder / ".hidden.png").write_bytes(b"passed over")
    code, text = told("predict", model, folder, "--json", "--out", tmp_path / "p.parquet")
    assert code == 0
    assert "left out" in text
    lines = lines_of(text)
    assert [line["image"] for line in lines if "error" in line] == [str(folder / "bad.jpg")]
    assert len(lines) == 6
    assert pq.read_table(tmp_path / "p.parquet").num_rows == 5


def test_one_that_cannot_be_read_is_a_mistake_and_a_folder_of_them_a_failure(model, told, tmp_path):
    bad = tmp_path / "folder" / "bad.jpg"
    bad.parent.mkdir()
    bad.write_bytes(b"no picture")
    code, text = told("predict", model, bad)
    assert code == 2
    assert "bad.jpg: is not a picture" in text.replace("\n", "")
    code, text = told("predict", model, bad.parent, "--out", tmp_path / "p.parquet")
    assert code == 1
    assert "none of 1 photographs can be read" in text
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (["nowhere.jpg"], "nowhere.jpg: there is no such file"),
        (["empty"], "no photographs found"),
        (["empty", "--top", "0"], "greater than or equal to 1"),
        (["empty", "--out", "there.parquet"], "is there already"),
    ],
)
def test_a_mistake_ends_with_2_and_its_reason(model, told, tmp_path, monkeypatch, places, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "there.parquet").write_text("")
    code, text = told("predict", model, *places)
    assert code == 2
    assert message in " ".join(text.split())


def test_a_model_that_is_not_there_is_named(told, tmp_path):
    code, text = told("predict", tmp_path, tmp_path)
    assert code == 2
    assert "best.safetensors: there is no such model" in text.replace("\n", "")


def test_a_model_of_another_machines_gpu_predicts_on_this_cpu(
    save_untrained, told, tmp_path, monkeypatch
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    path = save_untrained(tmp_path / "m.safetensors")
    code, text = told("predict", path, tmp_path / "red.png")
    assert code == 0, text
    code, text = told("predict", path, tmp_path / "red.png", "--device", "cuda")
    assert code == 2
    assert "sees no such GPU" in text
