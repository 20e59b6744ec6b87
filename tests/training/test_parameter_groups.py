import pytest
import torch
from torch import nn

from inat_ray.config.experiment import RecipeConfig
from inat_ray.config.model import CnnConfig
from inat_ray.models.cnn import build_cnn
from inat_ray.models.layers import Layer, layers_of
from inat_ray.models.trace import trace
from inat_ray.training.parameter_groups import build_optimizer


def layers_when_run(model: nn.Module) -> list[Layer]:
    return layers_of(model, trace(model, torch.zeros(1, 3, 32, 32)))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_weight_decay_spares_biases_and_norms(optimizer):
    model = build_cnn(CnnConfig(), classes=3, image_size=32)
    recipe = RecipeConfig(optimizer=optimizer, weight_decay=0.3)
    built = build_optimizer(recipe, layers_when_run(model))
    decayed, spared = built.param_groups
    assert decayed["weight_decay"] == 0.3
    assert spared["weight_decay"] == 0
    assert all(p.ndim > 1 for p in decayed["params"])
    assert all(p.ndim == 1 for p in spared["params"])
    together = len(decayed["params"]) + len(spared["params"])
    assert together == len(list(model.parameters()))


def test_muon_makes_the_steps_of_hidden_weights_orthogonal_and_of_nothing_else():
    model = build_cnn(CnnConfig(), classes=3, image_size=32)
    layers = layers_when_run(model)
    built = build_optimizer(RecipeConfig(optimizer="muon", momentum=0.95), layers)
    orthogonal = {
        id(p) for group in built.param_groups if group["orthogonal"] for p in group["params"]
    }
    assert orthogonal == {id(p) for layer in layers[:-1] for p in layer.parameters if p.ndim > 1}
    assert built.momentum == 0.95


def test_sgd_has_nesterov_momentum():
    model = build_cnn(CnnConfig(), classes=3, image_size=32)
    recipe = RecipeConfig(optimizer="sgd", momentum=0.8)
    group = build_optimizer(recipe, layers_when_run(model)).param_groups[0]
    assert group["nesterov"]
    assert group["momentum"] == 0.8


def test_layers_below_the_head_learn_at_their_share_of_its_rate():
    layers = layers_when_run(build_cnn(CnnConfig(), classes=3, image_size=32))
    recipe = RecipeConfig(backbone_lr_factor=0.1, layer_decay=0.5)
    built = build_optimizer(recipe, layers)
    shares = {id(p): g["lr_share"] for g in built.param_groups for p in g["params"]}
    for below, layer in enumerate(reversed(layers)):
        expected = 0.1 * 0.5**below if below else 1.0
        for parameter in layer.parameters:
            assert shares[id(parameter)] == pytest.approx(expected)


def test_frozen_layers_are_not_the_optimisers():
    layers = layers_when_run(build_cnn(CnnConfig(), classes=3, image_size=32))
    built = build_optimizer(RecipeConfig(), [None] * 6 + layers[6:])
    held = {id(p) for group in built.param_groups for p in group["params"]}
    assert held == {id(p) for p in layers[6].parameters}
