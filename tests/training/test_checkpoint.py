import pickle
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.models.build import build_model
from inat_ray.storage.place import Place
from inat_ray.training.checkpoint import (
    load_checkpoint,
    load_model,
    model_writer,
    save_checkpoint,
    temperatures_in,
)

CPU = torch.device("cpu")


def test_a_checkpoint_comes_back_and_leaves_nothing_beside_it(tmp_path):
    place = Place.at(tmp_path / "deep" / "epoch_0001.pt")
    save_checkpoint(place, {"epochs_done": 3, "weights": torch.ones(2)})
    assert load_checkpoint(place, CPU)["epochs_done"] == 3
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["epoch_0001.pt"]


def test_on_a_full_disk_the_checkpoint_before_stands(small_disk):
    place = Place.at(small_disk / "epoch_0001.pt")
    save_checkpoint(place, {"weights": torch.ones(100_000)})
    with pytest.raises(OSError, match="No space left on device"):
        save_checkpoint(place, {"weights": torch.zeros(200_000)})
    assert load_checkpoint(place, CPU)["weights"].all()
    assert [p.name for p in small_disk.iterdir()] == ["epoch_0001.pt"]


class Attack:
    def __reduce__(self):
        return print, ("code from a checkpoint ran",)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps(Attack(), protocol=2)])
def test_a_file_that_is_no_checkpoint_is_refused_and_never_run(tmp_path, content, capsys):
    path = tmp_path / "bad.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.pt"):
        load_checkpoint(Place.at(path), CPU)
    assert "ran" not in capsys.readouterr().out


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(b"junk")
    with pytest.raises(UserError, match=r"bad\.safetensors: cannot be read"):
        load_model(path)


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"w": torch.ones(1)}, path)
    with pytest.raises(UserError, match=r"Field required.*that train or sweep left is needed"):
        load_model(path)


@pytest.fixture(scope="module")
def parts() -> tuple[dict, dict]:
    """The weights and the metadata of a model."""
    tree = {"model": {"filters": [4] * 5, "dense": 4}, "data": {"image_size": 32}}
    experiment = Experiment.model_validate(tree)
    about = {
        "experiment": experiment.model_dump_json(),
        "classes": '["ash", "beech"]',
        "mean": "[0.5, 0.5, 0.5]",
        "std": "[0.2, 0.2, 0.2]",
        "epoch": "3",
    }
    return build_model(experiment, classes=2, weights=None).state_dict(), about


def test_a_model_is_what_its_file_says(parts, tmp_path):
    save_file(parts[0], tmp_path / "m.safetensors", metadata=parts[1])
    model = load_model(tmp_path / "m.safetensors")
    assert (model.classes, model.mean, model.epoch) == (["ash", "beech"], (0.5, 0.5, 0.5), 3)
    for name, tensor in model.model.state_dict().items():
        assert tensor.equal(parts[0][name])


def test_a_model_of_an_earlier_version_has_the_probabilities_that_it_had(parts, tmp_path):
    save_file(parts[0], tmp_path / "m.safetensors", metadata=parts[1])
    assert load_model(tmp_path / "m.safetensors").temperatures == (1.0,)
    save_file(parts[0], tmp_path / "m.safetensors", metadata=parts[1] | {"temperatures": "[0.3]"})
    assert load_model(tmp_path / "m.safetensors").temperatures == (0.3,)
    assert temperatures_in(tmp_path / "m.safetensors") == (0.3,)


WITH_BUFFERS_OF_THEIR_OWN = [
    ("timm", "test_vit_relpos", 160),
    pytest.param("timm", "swin_tiny_patch4_window7_224", 64, marks=pytest.mark.slow),
    pytest.param("timm", "eva02_tiny_patch14_336", 56, marks=pytest.mark.slow),
    pytest.param("timm", "tiny_vit_5m_224", 64, marks=pytest.mark.slow),
    pytest.param("torchvision", "swin_t", 64, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("source", "backbone", "size"), WITH_BUFFERS_OF_THEIR_OWN)
def test_a_network_computes_its_indices_and_masks_again_which_no_file_has(
    parts, tmp_path, source, backbone, size
):
    model = {"kind": "pretrained", "source": source, "backbone": backbone, "weights": "none"}
    experiment = Experiment.model_validate(
        {"model": model, "data": {"image_size": size}, "seed": 5}
    )
    made = build_model(experiment, classes=2, weights=None).eval()
    about = parts[1] | {"experiment": experiment.model_dump_json()}
    save_file(made.state_dict(), tmp_path / "m.safetensors", metadata=about)
    loaded = load_model(tmp_path / "m.safetensors").model_on(CPU).eval()
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        assert loaded(images).equal(made.to(memory_format=torch.channels_last)(images))


def test_a_layer_that_stands_in_two_places_is_saved_under_both_names(tmp_path):
    layer = torch.nn.Linear(2, 2)
    fit: Any = SimpleNamespace(
        experiment=Experiment(),
        data=SimpleNamespace(classes=["ash", "beech"]),
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        epochs_done=1,
        evaluated_model=torch.nn.Sequential(layer, layer),
    )
    model_writer(fit)(Place.at(tmp_path / "m.safetensors"))
    saved = load_file(tmp_path / "m.safetensors")
    assert all(saved[f"{place}.weight"].equal(layer.weight) for place in (0, 1))


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("mean", [None, "", "[1, 2]", "[1, 2, null]", "[1, 2, NaN]", "7"]),
        ("std", [None, "[1, 1, 0]", "[1, 1, -1]", "[1, 1, Infinity]"]),
        ("classes", [None, "[]", '["a", 1]', '{"a": 1}', "2"]),
        ("epoch", [None, "", "x", "-1", "1.5"]),
        ("experiment", [None, "", "[]", '{"model": {"dense": -1}}']),
        ("temperatures", ["", "1", "[0]", "[-1]", "[NaN]", "[Infinity]", "[1, 1]"]),
    ],
)
def test_metadata_that_is_absent_or_broken_is_told_by_its_key(parts, tmp_path, key, values):
    weights, about = parts
    for value in values:
        changed = {name: text for name, text in (about | {key: value}).items() if text is not None}
        save_file(weights, tmp_path / "m.safetensors", metadata=changed)
        with pytest.raises(UserError, match=rf"m\.safetensors: cannot be read \({key}.*needed"):
            load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda w: w * torch.nan, "NaN or infinite"),
        (lambda w: w > 0, "torch.bool instead of torch.float32"),
        (lambda w: w.half(), "torch.float16 instead of torch.float32"),
        (lambda w: w[:1], "size mismatch"),
    ],
)
def test_weights_that_are_none_are_told(parts, tmp_path, change, finding):
    weights, about = parts
    name = "0.weight" if "0.weight" in weights else next(iter(weights))
    changed = weights | {name: change(weights[name])}
    save_file(changed, tmp_path / "m.safetensors", metadata=about)
    with pytest.raises(UserError, match=finding):
        load_model(tmp_path / "m.safetensors")


def test_a_checkpoint_in_which_a_byte_has_changed_is_refused(tmp_path):
    place = Place.at(tmp_path / "epoch_0001.pt")
    save_checkpoint(place, {"weights": torch.ones(1000)})
    assert place.is_whole_zip()
    content = bytearray(place.read())
    content[len(content) // 2] ^= 1
    place.write(content)
    assert not place.is_whole_zip()
    with pytest.raises(UserError, match=r"epoch_0001\.pt: cannot be read .*begin it anew"):
        load_checkpoint(place, CPU)
