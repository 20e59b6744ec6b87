"""The pictures of what a model looks at."""

import pytest
import torch

from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import open_dataset
from inat_ray.models.build import build_model
from inat_ray.page.explanation import NEURONS, explanation_section
from inat_ray.training.checkpoint import LoadedModel


@pytest.fixture(scope="module")
def data(data_folder, small_settings):
    return open_dataset(
        load_experiment(None, settings=[*small_settings, f"data.source={data_folder}"]).data
    )


@pytest.fixture(params=["cnn", "resnet"])
def model(request, data, data_folder, small_settings, tmp_path) -> LoadedModel:
    kind = {
        "cnn": [],
        "resnet": ["model={kind: resnet, backbone: resnet18, weights: none}"],
    }[request.param]
    kept = [line for line in small_settings if kind == [] or not line.startswith("model.")]
    experiment = load_experiment(None, settings=[*kept, *kind, f"data.source={data_folder}"])
    torch.manual_seed(0)
    return LoadedModel(
        path=tmp_path / "m",
        experiment=experiment,
        classes=data.classes,
        epoch=1,
        mean=data.mean,
        std=data.std,
        model=build_model(experiment, classes=len(data.classes), weights=None),
    )


def test_filters_maps_neurons_and_evidence_are_all_there(model, data):
    section = explanation_section(model, data)
    body = section.body
    assert body.count("Guided gradient of channel") == min(
        NEURONS, 8 if "cnn" in str(model.experiment.model.kind) else 10
    )
    assert body.count("Feature maps after") == 5
    assert body.count('alt="Grad-CAM, ') == 8
    assert "of the first layer" in body
    assert "missing" not in body


def test_the_photographs_are_no_test_images(model, data, monkeypatch):
    section = explanation_section(model, data)
    assert "test" not in section.body.replace("data:image", "")
    blank = data.pack.images.copy()
    blank[data.subset("test")] = 0
    changed = data.__class__(
        **(vars(data) | {"pack": data.pack.__class__(**(vars(data.pack) | {"images": blank}))})
    )
    assert explanation_section(model, changed).body == section.body


def test_without_photographs_the_filters_are_shown_and_the_rest_is_said_to_be_missing(model):
    body = explanation_section(model, None).body
    assert body.count("<img") == 1
    assert "photographs are not available" in body
