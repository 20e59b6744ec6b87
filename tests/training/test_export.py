import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import open_dataset
from inat_ray.storage.place import Place
from inat_ray.training import export as module
from inat_ray.training.checkpoint import LoadedModel, load_model, model_writer
from inat_ray.training.export import KEY, about, check_packages, export, largest_difference
from inat_ray.training.fit import Fit

RESNET = "model={kind: resnet, backbone: resnet18, weights: none}"


@pytest.fixture
def model(data_folder, small_settings, tmp_path):
    """An untrained model of three classes whose batch norms have seen one epoch."""

    def saved(*settings: str) -> LoadedModel:
        small = [line for line in small_settings if not (RESNET in settings and "model." in line)]
        lines = [*small, f"data.source={data_folder}", "device=cpu", "recipe.lr=0.01", *settings]
        experiment = load_experiment(None, settings=lines)
        fit = Fit(experiment, open_dataset(experiment.data))
        fit.epoch()
        model_writer(fit, temperature=0.5)(Place.at(tmp_path / "m.safetensors"))
        return load_model(tmp_path / "m.safetensors")

    return saved


CASES = [
    pytest.param(("model.activation=mish", "recipe.flip_average=true"), id="mish, mirrored"),
    pytest.param(("model.activation=relu", "model.batch_norm=false"), id="relu"),
    pytest.param(("model.activation=gelu", "recipe.ema_decay=0.9"), id="gelu, ema"),
    pytest.param(("model.activation=silu", "model.dropout=0.3"), id="silu"),
    pytest.param((RESNET, "recipe.flip_average=true"), id="resnet", marks=pytest.mark.slow),
    pytest.param(("recipe.precision=bf16",), id="bf16"),
]


@pytest.mark.parametrize("form", ["onnx", "torch"])
@pytest.mark.parametrize("settings", CASES)
def test_the_file_gives_the_models_probabilities(model, tmp_path, settings, form):
    saved = model(*settings)
    path = tmp_path / f"out{module.SUFFIXES[form]}"
    assert export(saved, path, form=form) < 1e-5
    known = read_onnx(path) if form == "onnx" else read_torch(path)
    assert known == json.loads(json.dumps(about(saved)))
    assert known["classes"] == ["ash", "beech", "cedar"]
    assert (known["epoch"], known["image_size"]) == (1, 32)
    assert known["preparation"]["square"] == {
        "fit": "crop", "side": 40, "filter": "Pillow BILINEAR"
    }  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.safetensors", path.name]


def read_onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    [images] = session.get_inputs()
    assert (images.name, images.shape) == ("images", ["n", 3, 32, 32])
    assert [output.name for output in session.get_outputs()] == ["probabilities"]
    return json.loads(session.get_modelmeta().custom_metadata_map[KEY])


def read_torch(path):
    files = {f"{KEY}.json": ""}
    program = torch.export.load(path, extra_files=files).module()
    assert program(torch.rand(5, 3, 32, 32)).sum(dim=1) == pytest.approx(torch.ones(5))
    return json.loads(files[f"{KEY}.json"])


class Branching(nn.Module):
    """Asks for a number, and takes another way for each: no exporter can follow that."""

    def forward(self, images: Tensor) -> Tensor:
        means = images.mean(dim=(2, 3))
        return means if float(means.sum()) > 0 else 2 * means


class Crooked(nn.Module):
    """Takes batches of an even number of images."""

    def forward(self, images: Tensor) -> Tensor:
        return images.unflatten(0, (-1, 2)).flatten(0, 1).mean(dim=(2, 3))


@pytest.mark.parametrize("form", [pytest.param("onnx", marks=pytest.mark.slow), "torch"])
@pytest.mark.parametrize("network", [Branching, Crooked])
def test_what_an_exporter_cannot_do_is_one_sentence(model, tmp_path, form, network):
    unable = replace(model(), model=network())
    with pytest.raises(UserError) as raised:
        export(unable, tmp_path / f"out{module.SUFFIXES[form]}", form=form)
    said = str(raised.value)
    assert said.startswith(f"--format {form}: PyTorch cannot export cnn (")
    assert said.endswith("is another exporter")
    assert "\n" not in said
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_file_whose_numbers_differ_is_not_kept(model, tmp_path, monkeypatch):
    saved = model()
    (tmp_path / "out.pt2").write_text("the one before")
    wrong = torch.tensor([0.2, 0.3, 0.5])
    monkeypatch.setattr(module, "_write_torch", lambda *_, **__: None)
    monkeypatch.setattr(
        module, "_load_torch", lambda _: lambda images: wrong.expand(len(images), 3)
    )
    with pytest.raises(RunFailedError, match="gives other probabilities"):
        export(saved, tmp_path / "out.pt2", form="torch")
    assert (tmp_path / "out.pt2").read_text() == "the one before"


def test_the_difference_is_seen_where_mirror_images_are_forgotten(model):
    saved = model("recipe.flip_average=true")
    classifier = module.Classifier(saved)
    assert largest_difference(classifier, saved) < 1e-6
    classifier.mirrored = False
    assert largest_difference(classifier, saved) > 1e-6


def test_numbers_that_are_none_do_not_pass(model, tmp_path, monkeypatch):
    saved = model()
    monkeypatch.setattr(module, "_write_torch", lambda *_, **__: None)
    nothing = torch.full((1, 3), torch.nan)
    monkeypatch.setattr(module, "_load_torch", lambda _: lambda images: nothing)
    with pytest.raises(RunFailedError, match="by up to nan"):
        export(saved, tmp_path / "out.pt2", form="torch")


def test_a_missing_package_is_named_with_the_extra_that_has_it(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "onnxscript" else name)
    check_packages("torch")
    with pytest.raises(UserError, match=r"needs onnxscript.*inat_ray\[onnx\]"):
        check_packages("onnx")


def test_what_an_onnx_file_cannot_hold_is_refused(model, tmp_path, monkeypatch):
    saved = model()
    monkeypatch.setattr(module, "ONNX_BYTES", 1000)
    with pytest.raises(UserError, match="holds 2 GiB; --format torch"):
        export(saved, tmp_path / "out.onnx", form="onnx")
