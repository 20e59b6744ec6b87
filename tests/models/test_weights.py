import hashlib
import pickle
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import safetensors.torch
import torch
from safetensors.torch import save_file

from inat_ray.config.backbones import IMAGENET_MEAN
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.model import ResnetConfig
from inat_ray.models import weights
from inat_ray.models.build import build_model, check_model
from inat_ray.models.pretrained import build_pretrained
from inat_ray.models.weights import fetch, read_weights, why_missing
from inat_ray.storage.place import Place

RESNET18 = "resnet18-f37072fd.pth"


def config(weights: object, backbone: str = "resnet18") -> ResnetConfig:
    return ResnetConfig(kind="resnet", backbone=backbone, weights=str(weights))


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Of a resnet18 for a thousand classes, as it might be found anywhere."""
    return build_pretrained(config("none"), classes=1000, image_size=32).state_dict()


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("wrapped", ["plain", "state_dict", "model", "module."])
def test_a_state_dict_is_found_in_the_wrappings_of_training_scripts(state, tmp_path, wrapped):
    content = {
        "plain": state,
        "state_dict": {"epoch": 3, "state_dict": state},
        "model": {"model": state},
        "module.": {f"module.{name}": tensor for name, tensor in state.items()},
    }[wrapped]
    weights = read_weights(config(save(tmp_path / "w.pth", content)))
    assert weights.state.keys() == state.keys()
    assert weights.mean == IMAGENET_MEAN


def test_the_backbone_begins_with_the_weights_and_the_output_layer_is_new(state, tmp_path):
    save_file(state, tmp_path / "w.safetensors")
    settings = config(tmp_path / "w.safetensors")
    experiment = Experiment.model_validate({"model": settings, "data": {"image_size": 32}})
    check_model(experiment)
    model = build_model(experiment, classes=3, weights=read_weights(settings))
    for name, tensor in model.state_dict().items():
        if name.startswith("fc."):
            assert len(tensor) == 3
        else:
            assert tensor.equal(state[name])


def test_a_file_that_knows_its_normalisation_brings_it(state, tmp_path):
    about = {"mean": "[0.1, 0.2, 0.3]", "std": "[0.4, 0.5, 0.6]"}
    save_file(state, tmp_path / "w.safetensors", metadata=about)
    weights = read_weights(config(tmp_path / "w.safetensors"))
    assert (weights.mean, weights.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_weights_are_read_from_a_bucket_too(bucket):
    place = Place.at(bucket) / "w.safetensors"
    place.write(safetensors.torch.save({"a": torch.ones(3)}))
    assert read_weights(config(place.address)).state.keys() == {"a"}
    with pytest.raises(UserError, match=r"model\.weights: s3://.*none\.pth: cannot be read"):
        read_weights(config((Place.at(bucket) / "none.pth").address))


class Attack:
    def __reduce__(self):
        return print, ("code from a weights file ran",)


@pytest.mark.parametrize("name", ["bad.pth", "bad.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights", pickle.dumps(Attack(), protocol=2)])
def test_a_file_that_holds_no_weights_is_refused_and_never_run(tmp_path, name, content, capsys):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        UserError, match=rf"model\.weights: .*{name}: cannot be read .*; a state dict"
    ):
        read_weights(config(tmp_path / name))
    assert "ran" not in capsys.readouterr().out


def test_a_file_with_code_beside_its_weights_is_refused_and_never_run(state, tmp_path, capsys):
    path = save(tmp_path / "w.pth", {"state_dict": state, "extra": Attack()})
    with pytest.raises(UserError, match="it holds other things than numbers"):
        read_weights(config(path))
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_file_that_is_cut_off_is_told(state, tmp_path, suffix):
    path = tmp_path / f"w.{suffix}"
    save_file(state, path) if suffix == "safetensors" else save(path, state)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=rf"w\.{suffix}"):
        read_weights(config(path))


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda w: w * torch.nan, "not finite"),
        (lambda w: w.double() + 1e300, "not finite"),
        (lambda w: w > 0, "no dense tensor of real numbers"),
        (lambda w: w * 1j, "no dense tensor of real numbers"),
        (lambda w: w.to_sparse(), "no dense tensor of real numbers"),
        (lambda w: w.to("meta"), "no dense tensor of real numbers"),
        (lambda w: w.int(), "of type torch.int32 instead of torch.float32"),
        (lambda w: torch.zeros(1).expand(10**9, 10**5), "of another shape"),
    ],
)
def test_tensors_that_are_no_weights_are_told_by_name(state, tmp_path, change, finding):
    name = "layer1.0.conv1.weight"
    path = save(tmp_path / "w.pth", state | {name: change(state[name])})
    with pytest.raises(UserError, match=rf"w\.pth: .*1 {finding}.* \({name}\)"):
        check_model(Experiment.model_validate({"model": config(path)}))


def test_weights_of_half_precision_are_weights(state, tmp_path):
    path = save(
        tmp_path / "w.pth",
        {name: tensor.half() for name, tensor in state.items() if tensor.is_floating_point()},
    )
    check_model(Experiment.model_validate({"model": config(path)}))


@pytest.mark.parametrize(
    "about",
    [
        {"mean": "[0, 0]", "std": "[1, 1, 1]"},
        {"mean": "x", "std": "[1, 1, 1]"},
        {"mean": "[0, 0, NaN]", "std": "[1, 1, 1]"},
        {"mean": "[0, 0, 0]", "std": "[1, 1, 0]"},
    ],
)
def test_a_normalisation_that_is_none_is_told(state, tmp_path, about):
    save_file(state, tmp_path / "w.safetensors", metadata=about)
    with pytest.raises(UserError, match=r"w\.safetensors: cannot be read \((mean|std)"):
        read_weights(config(tmp_path / "w.safetensors"))


def test_a_byte_that_has_changed_is_noticed(state, tmp_path):
    path = save(tmp_path / "w.pth", state)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"another checksum|Bad CRC"):
        read_weights(config(path))


def test_a_file_of_numbers_that_are_no_state_dict_is_told(tmp_path):
    with pytest.raises(UserError, match="holds no state dict"):
        read_weights(config(save(tmp_path / "w.pth", {"a": 1.0})))


@pytest.mark.parametrize(
    ("backbone", "finding"), [("resnet34", "missing"), ("resnet50", "of another shape")]
)
def test_another_networks_weights_are_told_with_what_does_not_fit(
    state, tmp_path, backbone, finding
):
    settings = config(save(tmp_path / "w.pth", state), backbone)
    with pytest.raises(UserError, match=f"are not the weights of this backbone.*{finding}"):
        check_model(Experiment.model_validate({"model": settings}))


@pytest.fixture
def published(tmp_path, monkeypatch) -> SimpleNamespace:
    """Weights as torchvision names them, and an empty cache of torch's."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    content = b"the weights"
    digits = hashlib.sha256(content).hexdigest()[:8]
    path = tmp_path / "hub" / "checkpoints" / f"net-{digits}.pth"
    entry = SimpleNamespace(url=f"https://example.org/models/{path.name}")
    return SimpleNamespace(entry=entry, path=path, content=content)


def test_without_a_network_the_error_says_which_file_goes_where(published, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(UserError) as caught:
        fetch(published.entry)
    assert published.entry.url in str(caught.value)
    assert str(published.path) in str(caught.value)


def test_weights_are_fetched_once_and_a_good_file_is_used_as_it_is(published, monkeypatch):
    fetched = []

    def download(url: str, path: str, **_: object) -> None:
        fetched.append(url)
        Path(path).write_bytes(published.content)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert fetch(published.entry) == fetch(published.entry) == published.path
    assert fetched == [published.entry.url]


def test_a_damaged_file_in_the_cache_is_told(published):
    published.path.parent.mkdir(parents=True)
    published.path.write_bytes(b"something else")
    with pytest.raises(UserError, match="is damaged"):
        fetch(published.entry)


def test_weights_that_cannot_be_had_are_told_in_a_few_words(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    asked = []

    def unreachable(request, timeout):
        asked.append((request.get_method(), request.full_url, timeout <= 10))
        raise URLError("no network")

    monkeypatch.setattr(weights, "urlopen", unreachable)
    named = config("imagenet1k_v1")
    assert why_missing(named) == "download.pytorch.org cannot be reached (no network)"
    assert asked == [("HEAD", f"https://download.pytorch.org/models/{RESNET18}", True)]
    assert why_missing(config(tmp_path / "none.pth")) == f"{tmp_path}/none.pth is not there"
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / RESNET18).touch()
    assert why_missing(named) is None
    assert len(asked) == 1
