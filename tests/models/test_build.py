import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.space import search_space
from inat_ray.models import build
from inat_ray.models.build import check_model, check_models

RESNET = {"kind": "resnet", "backbone": "resnet18", "weights": "none"}
BACKBONES = {"model.backbone": {"values": ["squeezenet1_1", "mobilenet_v3_small"]}}
SIZES = {"data.image_size": {"values": [32, 64]}}


@pytest.fixture
def check(monkeypatch):
    """Checks the models of a search; returns (network, image size, ways to freeze) of each."""
    checked = []
    real = build.check_model

    def check_model(experiment, *, frozen=()):
        name = build.network_name(experiment.model)
        checked.append((name, experiment.image_size, 1 + len(frozen)))
        return real(experiment, frozen=frozen)

    monkeypatch.setattr(build, "check_model", check_model)

    def check(parameters: dict, **model):
        tree = {"model": RESNET | model, "search": {"parameters": parameters}}
        experiment = Experiment.model_validate(tree)
        check_models(experiment, search_space(experiment))
        return checked

    return check


def test_each_network_is_checked_once_at_each_size_of_images(check):
    dropout = {"model.dropout": {"min": 0.0, "max": 0.5}}
    assert check(BACKBONES | SIZES | dropout, kind="pretrained") == [
        ("mobilenet_v3_small", 32, 1),
        ("mobilenet_v3_small", 64, 1),
        ("squeezenet1_1", 32, 1),
        ("squeezenet1_1", 64, 1),
    ]


def test_all_ways_to_freeze_a_network_are_checked_on_one(check):
    strategies = {"values": ["none", "head_only", "first_k"]}
    layers = {"min": 1, "max": 20, "when": {"model.freeze.strategy": "first_k"}}
    assert check({"model.freeze.strategy": strategies, "model.freeze.k": layers}) == [
        ("resnet18", 64, 4)
    ]


def test_a_cnn_among_the_kinds_needs_no_check_of_its_settings(check):
    kinds = {"model.kind": {"values": ["cnn", "resnet"]}}
    dense = {"model.dense": {"min": 1, "max": 1000, "when": {"model.kind": "cnn"}}}
    assert check(kinds | dense) == [("cnn", 64, 1), ("resnet18", 64, 1)]


def test_too_many_frozen_layers_are_told_with_the_backbone(check):
    layers = {"model.freeze.k": {"min": 1, "max": 36}}
    with pytest.raises(UserError, match=r"squeezenet1_1, images of 64 pixels: model.freeze.k: 36"):
        check(BACKBONES | layers, kind="pretrained", freeze={"strategy": "first_k", "k": 1})


def test_too_many_frozen_layers_are_told_before_weights_are_fetched():
    model = RESNET | {"weights": "/nowhere", "freeze": {"strategy": "first_k", "k": 21}}
    with pytest.raises(UserError, match=r"freeze\.k: 21: .* has 21 layers, so 20 can be frozen"):
        check_model(Experiment.model_validate({"model": model}))


def test_weights_that_are_missing_are_told_with_the_backbone(check):
    weights = {"model.weights": {"values": ["none", "/nowhere/w.pth"]}}
    with pytest.raises(UserError, match=r"resnet18, images of 224 pixels: model.weights: /nowhere"):
        check(weights)


def test_a_network_is_tried_on_images_of_every_side_that_it_trains_on(monkeypatch):
    tried = []
    real = build.structure_of

    def structure_of(model, experiment, *, size=None, **others):
        tried.append(size or experiment.image_size)
        return real(model, experiment, size=size, **others)

    monkeypatch.setattr(build, "structure_of", structure_of)
    recipe = {"train_scale": 0.8, "initial_scale": 0.4, "epochs": 10}
    tree = {"model": RESNET, "data": {"image_size": 128}, "recipe": recipe}
    check_model(Experiment.model_validate(tree))
    assert tried == [128, 32, 64, 96, 102]
