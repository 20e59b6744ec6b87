import json

import pytest


@pytest.fixture(scope="module")
def model(save_untrained, tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("export") / "run" / "best.safetensors")


def test_the_file_is_beside_the_model_and_never_written_over_by_accident(model, told):
    code, text = told("export", model.parent, "--format", "torch", "--json")
    assert code == 0, text
    result = json.loads(text.splitlines()[-1])
    file = model.with_suffix(".pt2")
    assert (result["file"], result["bytes"]) == (str(file), file.stat().st_size)
    assert result["largest_difference"] <= 1e-4
    code, text = told("export", model.parent, "--format", "torch")
    assert code == 2
    assert "is there already; --overwrite replaces it" in " ".join(text.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "tflite"], "tflite"),
        (["--format", "torch", "--out", "model.onnx"], "the name must end in .pt2"),
    ],
)
def test_a_mistake_ends_with_2_and_its_reason(model, told, options, message):
    code, text = told("export", model, *options)
    assert code == 2
    assert message in " ".join(text.split())


def test_a_missing_package_ends_with_2_and_the_extras_name(model, told, monkeypatch):
    monkeypatch.setattr("inat_ray.training.export.find_spec", lambda name: None)
    code, text = told("export", model)
    assert code == 2
    assert "pip install 'inat_ray[onnx]'" in " ".join(text.split())
