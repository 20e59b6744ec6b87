"""A network with real ImageNet weights, seen as a user's model is."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_sample_images
from torch import Tensor

from inat_ray.config.experiment import Experiment
from inat_ray.models.build import build_model, pretrained_weights
from inat_ray.models.head import head_inputs, head_name
from inat_ray.training.checkpoint import LoadedModel
from inat_ray.training.predict import predict

BACKBONE = "tf_efficientnet_lite0"
CLASSES = 1000
DAISY, PALACE = "985", "698"

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def experiment(lite0_weights: Path) -> Experiment:
    model = {"kind": "pretrained", "source": "timm", "backbone": BACKBONE}
    return Experiment.model_validate({"model": {**model, "weights": str(lite0_weights)}})


@pytest.fixture(scope="module")
def loaded(experiment: Experiment) -> LoadedModel:
    """The network as it is built for a training, but with ImageNet's own output layer."""
    weights = pretrained_weights(experiment.model)
    assert weights is not None
    model = build_model(experiment, classes=CLASSES, weights=weights)
    model.load_state_dict(weights.state, strict=False)
    names = [str(number) for number in range(CLASSES)]
    return LoadedModel(
        Path(),
        experiment,
        names,
        weights.mean,
        weights.std,
        epoch=0,
        members=(experiment,),
        model=model,
    )


@pytest.fixture(scope="module")
def original(lite0_weights: Path) -> torch.nn.Module:
    """The same network as timm builds and runs it."""
    model = timm.create_model(BACKBONE)
    assert model.load_state_dict(load_file(lite0_weights), strict=False).unexpected_keys == []
    return model.eval()


@pytest.fixture
def pixels() -> Tensor:
    return torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1


def likeliest(model: LoadedModel, paths: Sequence[Path]) -> list[str]:
    """Returns the likeliest class of each photograph."""
    found = [each for batch in predict(model, paths, device=CPU) for each in batch]
    return [each.top(1, model.classes)[0][0] for each in found]


def test_images_are_sized_and_normalized_as_the_weights_want_them(experiment, loaded):
    assert experiment.data.image_size == 224
    assert loaded.mean == loaded.std == (0.5, 0.5, 0.5)


def test_logits_and_features_are_those_of_timm_bit_by_bit(experiment, loaded, original, pixels):
    model = loaded.model.eval().to(memory_format=torch.contiguous_format)
    head = head_name(model, experiment.model)
    assert head is not None
    with torch.inference_mode():
        features = original.forward_head(original.forward_features(pixels), pre_logits=True)
        assert model(pixels).equal(original(pixels))
        assert head_inputs(model, head, pixels).equal(features)


def test_a_photograph_of_a_flower_is_a_daisy_and_one_of_a_temple_a_palace(loaded, tmp_path):
    paths = []
    for name, picture in zip(("china", "flower"), load_sample_images().images, strict=True):
        paths.append(tmp_path / f"{name}.png")
        Image.fromarray(picture).save(paths[-1])
    assert likeliest(loaded, paths) == [PALACE, DAISY]


@pytest.mark.slow
def test_daisies_are_daisies_before_any_training(loaded):
    """DATA names a folder of photographs that has `val/daisy`, as TensorFlow's flowers do."""
    daisies = sorted(Path(os.environ.get("DATA", ".")).glob("val/daisy/*.jpg"))[:24]
    if len(daisies) < 24:
        pytest.skip("needs photographs of daisies: DATA=FOLDER, with val/daisy in it")
    whole = loaded.experiment.data.model_copy(update={"fit": "squash"})  # a crop may lose the daisy
    model = replace(loaded, experiment=loaded.experiment.model_copy(update={"data": whole}))
    assert likeliest(model, daisies).count(DAISY) >= 20
