import pytest
import torch
from torch import nn

from inat_ray.config.model import CnnConfig
from inat_ray.models.cnn import ACTIVATIONS, build_cnn

SMALL = {"filters": [4, 4, 8, 8, 8], "dense": 16}


def small_cnn(image_size: int = 32, classes: int = 3, **settings) -> nn.Module:
    config = CnnConfig.model_validate(SMALL | settings)
    return build_cnn(config, classes=classes, image_size=image_size)


@pytest.mark.parametrize("image_size", [32, 45, 63, 100])
def test_any_image_size_from_32_up_gives_one_logit_a_class(image_size):
    model = small_cnn(image_size=image_size, classes=7)
    assert model(torch.zeros(2, 3, image_size, image_size)).shape == (2, 7)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_the_activation_is_the_one_that_was_asked_for(activation):
    kinds = {type(module) for module in small_cnn(activation=activation).modules()}
    assert ACTIVATIONS[activation] in kinds
    assert not kinds & (set(ACTIVATIONS.values()) - {ACTIVATIONS[activation]})


def test_filters_and_kernel_sizes_are_those_of_the_blocks():
    model = small_cnn(kernel_sizes=[7, 5, 5, 3, 3])
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [4, 4, 8, 8, 8]
    assert [c.kernel_size[0] for c in convolutions] == [7, 5, 5, 3, 3]


def count(model: nn.Module, *kinds: type[nn.Module]) -> int:
    return sum(isinstance(module, kinds) for module in model.modules())


def test_batch_norm_follows_every_convolution_and_the_dense_layer_or_none():
    assert count(small_cnn(batch_norm=True), nn.BatchNorm2d, nn.BatchNorm1d) == 6
    assert count(small_cnn(batch_norm=False), nn.BatchNorm2d, nn.BatchNorm1d) == 0


@pytest.mark.parametrize(
    ("settings", "after_blocks", "after_dense"),
    [
        ({"dropout": 0.2}, 5, 1),
        ({"dropout": 0.4, "conv_dropout": 0.0}, 0, 1),
        ({"dropout": 0.0, "conv_dropout": 0.1}, 5, 0),
        ({}, 0, 0),
    ],
)
def test_dropout_sets_both_kinds_and_conv_dropout_the_first_alone(
    settings, after_blocks, after_dense
):
    model = small_cnn(**settings)
    assert count(model, nn.Dropout2d) == after_blocks
    assert count(model, nn.Dropout) == after_dense


@pytest.mark.parametrize("batch_norm", [True, False])
def test_signals_neither_die_nor_explode_on_the_way_to_the_dense_layer(batch_norm):
    torch.manual_seed(0)
    model = small_cnn(image_size=64, batch_norm=batch_norm, activation="relu")
    features = model[:-1](torch.randn(16, 3, 64, 64))
    assert 0.1 < features.std().item() < 10


def test_the_initialisation_is_hes_or_pytorchs():
    kernels = {}
    for initialization in ("he", "pytorch"):
        torch.manual_seed(0)
        model = small_cnn(filters=[64] * 5, initialization=initialization)
        kernels[initialization] = model[1][0].weight.std().item()
    fan_in = 64 * 9
    assert kernels["he"] == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
    assert kernels["pytorch"] == pytest.approx((1 / (3 * fan_in)) ** 0.5, rel=0.02)


WIDE = {"filters": [16, 64, 16, 16, 16], "residual_blocks": 1, "squeeze_excite": 4}


def test_residual_blocks_begin_by_passing_on_what_comes_in():
    model = small_cnn(**WIDE | {"residual_blocks": 2}, activation="relu").eval()
    maps = torch.rand(2, 64, 4, 4)
    assert len(model[1]) == len(small_cnn()[1]) + 2
    for block in model[1][-2:]:
        torch.testing.assert_close(block(maps), maps)


def test_squeeze_and_excitation_weighs_whole_feature_maps():
    block = small_cnn(**WIDE, batch_norm=False)[1][-1].eval()
    maps = torch.rand(2, 64, 4, 4)
    branch = block.branch(maps)
    torch.testing.assert_close(block(maps), block.activation(maps + branch * block.weights(branch)))
    assert block.weights(branch).shape == (2, 64, 1, 1)
    assert block.weights[1].out_channels == 16


def test_with_a_global_pool_the_dense_layer_is_the_same_for_every_image_size():
    models = [small_cnn(size, **WIDE, global_pool=True) for size in (32, 96)]
    assert [model[-2][2].in_features for model in models] == [16, 16]
