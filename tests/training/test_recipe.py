import numpy as np
import pytest
import torch
from torch import nn

from inat_ray.config.experiment import RecipeConfig
from inat_ray.config.model import CnnConfig
from inat_ray.data.batches import Batch
from inat_ray.models.cnn import build_cnn
from inat_ray.models.layers import Layer, layers_of, trace
from inat_ray.training.recipe import balanced_weights, build_loss, build_optimizer, lr_factor

CPU = torch.device("cpu")


def layers_when_run(model: nn.Module) -> list[Layer]:
    return layers_of(model, trace(model, torch.zeros(1, 3, 32, 32)))


def factors(total: int = 100, **settings) -> list[float]:
    recipe = RecipeConfig.model_validate(settings)
    return [lr_factor(recipe, step, total) for step in range(total)]


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "warmup_stable_decay"])
def test_every_schedule_reaches_its_peak_and_never_exceeds_it(schedule):
    values = factors(schedule=schedule)
    assert 0.99 < max(values) <= 1.0
    assert min(values) > 0


def test_a_constant_rate_is_constant():
    assert set(factors(schedule="constant")) == {1.0}


def test_one_cycle_rises_to_its_peak_where_the_warm_up_ends_and_falls_to_almost_nothing():
    values = factors(schedule="one_cycle", warmup_fraction=0.3)
    assert values[:30] == sorted(values[:30])
    assert values[30:] == sorted(values[30:], reverse=True)
    assert values[0] < 0.01
    assert values[-1] < 0.01


def test_cosine_without_warm_up_falls_from_its_peak_through_a_half_to_zero():
    values = factors(schedule="cosine", warmup_fraction=0.0, total=1001)
    assert values[0] == pytest.approx(1, abs=1e-3)
    assert values[500] == pytest.approx(0.5, abs=1e-3)
    assert values[-1] == pytest.approx(0, abs=1e-3)


def test_warmup_stable_decay_is_stable_between_the_two():
    values = factors(schedule="warmup_stable_decay", warmup_fraction=0.1, decay_fraction=0.4)
    assert set(values[10:60]) == {1.0}
    assert values[5] == pytest.approx(0.55)
    assert values[80] == pytest.approx(0.4875)


@pytest.mark.parametrize("warmup_fraction", [0.0, 0.99])
@pytest.mark.parametrize("total", [1, 2, 1000])
def test_the_shortest_runs_and_the_longest_warm_ups_have_a_rate(warmup_fraction, total):
    for schedule in ("cosine", "one_cycle"):
        values = factors(total=total, schedule=schedule, warmup_fraction=warmup_fraction)
        assert all(0 < value <= 1 for value in values)


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


def test_balanced_weights_are_inverse_to_frequency_and_one_on_average():
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights = balanced_weights(labels, 3)
    assert (weights * torch.tensor([6, 3, 1])).tolist() == pytest.approx([10 / 3] * 3)
    assert weights[torch.from_numpy(labels)].mean().item() == pytest.approx(1)


def test_a_mixed_batch_is_lost_by_both_labels_shares():
    recipe = RecipeConfig(label_smoothing=0.0)
    loss = build_loss(recipe, labels=np.array([0, 1]), classes=2, device=CPU)
    logits = torch.tensor([[2.0, 0.0]])
    images = torch.zeros(1, 3, 8, 8)

    def lost(label: int) -> torch.Tensor:
        return loss(logits, Batch(images, torch.tensor([label]), total=1))

    mixed = loss(logits, Batch(images, torch.tensor([0]), 1, torch.tensor([1]), share=0.7))
    torch.testing.assert_close(mixed, 0.7 * lost(0) + 0.3 * lost(1))


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
