import pytest
import torch
from torch import nn

from inat_ray.config.model import FreezeConfig, ResnetConfig
from inat_ray.models.freeze import Freezing, set_trained, training_mode
from inat_ray.models.layers import BatchNorm, layers_of, stages_of
from inat_ray.models.pretrained import build_pretrained
from inat_ray.models.trace import trace

STAGES = [0, 1, 1, 2, 2, 2, 3, 4, 4, 5]


def trained(epoch: int = 0, **freeze) -> str:
    """A letter a layer: T where it trains."""
    found = Freezing(FreezeConfig.model_validate(freeze), STAGES).trained(epoch)
    return "".join("T" if trains else "-" for trains in found)


@pytest.mark.parametrize(
    ("freeze", "expected"),
    [
        ({"strategy": "none"}, "TTTTTTTTTT"),
        ({"strategy": "head_only"}, "---------T"),
        ({"strategy": "freeze_fc"}, "TTTTTTTTT-"),
        ({"strategy": "first_k", "k": 0}, "TTTTTTTTTT"),
        ({"strategy": "first_k", "k": 9}, "---------T"),
        ({"strategy": "fraction", "fraction": 0.0}, "TTTTTTTTTT"),
        ({"strategy": "fraction", "fraction": 0.3}, "---TTTTTTT"),
        ({"strategy": "fraction", "fraction": 0.999}, "---------T"),
    ],
)
def test_each_strategy_freezes_what_it_says(freeze, expected):
    assert trained(**freeze) == expected


def test_a_gradual_freeze_thaws_a_stage_every_few_epochs_from_the_end():
    seen = [trained(epoch, strategy="gradual", every=2) for epoch in range(12)]
    assert seen[0] == seen[1] == "---------T"
    assert seen[2] == seen[3] == "-------TTT"
    assert seen[4] == "------TTTT"
    assert seen[10] == seen[11] == "TTTTTTTTTT"


@pytest.fixture
def model() -> nn.Module:
    config = ResnetConfig(kind="resnet", backbone="resnet18", weights="none")
    return build_pretrained(config, classes=3, image_size=32)


def test_frozen_norms_are_in_evaluation_mode_and_all_else_trains(model):
    layers = layers_of(model, trace(model, torch.zeros(1, 3, 32, 32)))
    training_mode(model, layers, [False] * 10 + [True] * 11)
    for place, layer in enumerate(layers):
        norms = [module for module in layer.modules if isinstance(module, BatchNorm)]
        assert all(norm.training == (place >= 10) for norm in norms)
    assert model.training


def test_before_the_first_trained_layer_autograd_keeps_nothing(model):
    layers = layers_of(model, trace(model, torch.zeros(1, 3, 32, 32)))
    freeze = FreezeConfig(strategy="first_k", k=10)
    stages = stages_of([layer.name for layer in layers])
    set_trained(layers, Freezing(freeze, stages).trained(0))
    recorded: dict[str, bool] = {}
    for layer in layers:
        layer.modules[0].register_forward_hook(
            lambda _m, _i, out, name=layer.name: recorded.update({name: out.grad_fn is not None})
        )
    model(torch.zeros(2, 3, 32, 32))
    assert [recorded[layer.name] for layer in layers] == [False] * 10 + [True] * 11
