"""Gradients back to the image, on networks small enough to work them out by hand."""

import pytest
import torch
from torch import nn

from inat_ray.config.experiment import Experiment
from inat_ray.config.model import CnnConfig
from inat_ray.models.build import build_model
from inat_ray.models.cnn import ACTIVATIONS, build_cnn
from inat_ray.page.attribution import (
    Neuron,
    busiest_neurons,
    feature_maps,
    first_layer_filters,
    grad_cam,
    guided_backpropagation,
    stages,
)

HERE = Neuron(0, 0, 0)


def two_layers(activation: type[nn.Module]) -> nn.Sequential:
    """One pixel: x -> h = a(2 x0 - x1), a(-3 x0 + x1), a(x0 + x1) -> a(h0 - h1 + 4 h2)."""
    first, second = nn.Conv2d(2, 3, 1, bias=False), nn.Conv2d(3, 1, 1, bias=False)
    first.weight.data = torch.tensor([[2.0, -1.0], [-3.0, 1.0], [1.0, 1.0]]).view(3, 2, 1, 1)
    second.weight.data = torch.tensor([[1.0, -1.0, 4.0]]).view(1, 3, 1, 1)
    return nn.Sequential(nn.Sequential(first, activation()), nn.Sequential(second, activation()))


def pixel(*channels: float) -> torch.Tensor:
    return torch.tensor(channels, dtype=torch.float32).view(1, -1, 1, 1)


def plain_gradient(
    model: nn.Module, image: torch.Tensor, *, stage: nn.Module, neuron: Neuron
) -> torch.Tensor:
    found = []
    pixels = image.clone().requires_grad_()
    with stage.register_forward_hook(lambda _module, _inputs, output: found.append(output)):
        model.eval()(pixels)
    excitation = found[0][0, neuron.channel, neuron.row, neuron.column]
    return torch.autograd.grad(excitation, pixels)[0][0]


def explained(model: nn.Sequential, image: torch.Tensor) -> tuple[list[float], list[float]]:
    """The plain and the guided gradient of the last neuron."""
    place = {"stage": model[1][1], "neuron": HERE}
    plain = plain_gradient(model, image, **place)
    guided = guided_backpropagation(model, image, **place)
    return plain.flatten().tolist(), guided.flatten().tolist()


def test_a_negative_gradient_ends_at_an_activation():
    # x = (1, 3.5): h = relu(-1.5, 0.5, 4.5); y = relu(-0.5 + 18) = 17.5, so the gradient at y is 1.
    # At h it is (1, -1, 4). Plain: h0 is off, so -(-3, 1) + 4 (1, 1) = (7, 3).
    # Guided: that of h1 is negative and ends there: 4 (1, 1).
    plain, guided = explained(two_layers(nn.ReLU), pixel(1, 3.5))
    assert plain == [7, 3]
    assert guided == [4, 4]


def test_a_neuron_that_is_off_has_no_gradient():
    # x = (1, -2): h = relu(4, -5, -1) = (4, 0, 0): only h0 lets pass, (2, -1).
    plain, guided = explained(two_layers(nn.ReLU), pixel(1, -2))
    assert plain == guided == [2, -1]
    # y = relu(h0 - h1 + 4 h2) of h = (0, 5, 0) is off.
    assert explained(two_layers(nn.ReLU), pixel(-2, -1)) == ([0, 0], [0, 0])


@pytest.mark.parametrize("name", ["gelu", "silu", "mish"])
def test_other_activations_multiply_by_their_own_derivative_where_their_output_is_positive(name):
    activation = ACTIVATIONS[name]()

    def derivative(value: torch.Tensor) -> torch.Tensor:
        value = value.clone().requires_grad_()
        return torch.autograd.grad(activation(value).sum(), value)[0]

    model, image = two_layers(ACTIVATIONS[name]), pixel(1, 3.5)
    first, second = (block[0].weight[:, :, 0, 0].detach() for block in model)
    inner = first @ image.flatten()
    outer = second @ activation(inner)
    at_hidden = second.T @ derivative(outer)  # what arrives at the first activations
    passed = at_hidden.clamp(min=0) * derivative(inner) * (activation(inner) > 0)
    _, guided = explained(model, image)
    assert guided == pytest.approx((first.T @ passed).tolist(), rel=1e-5)
    # h0 has a negative input, where these have a gradient and ReLU has none.
    assert float(derivative(inner)[0]) != 0


def test_grad_cam_weighs_maps_by_the_mean_gradient_and_cuts_off_what_speaks_against():
    # Two maps of 2 x 2: the image and its negative shifted by 1, both through ReLU.
    # The logit is 3 mean(map 0) - 2 mean(map 1); its gradient is 3/4 and -2/4 everywhere.
    conv = nn.Conv2d(1, 2, 1)
    conv.weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    conv.bias.data = torch.tensor([0.0, 1.0])
    head = nn.Linear(2, 1, bias=False)
    head.weight.data = torch.tensor([[3.0, -2.0]])
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential(nn.Sequential(conv, nn.ReLU()), pool, head)
    image = torch.tensor([[2.0, 1.0], [0.5, -1.0]]).view(1, 1, 2, 2)
    # Maps: (2, 1, .5, 0) and (0, 0, .5, 2); weighted: (1.5, .75, .375 - .25, -1).
    heat = grad_cam(model, image, stage=model[0][1], label=0)
    assert heat.flatten().tolist() == pytest.approx([1.0, 0.5, 0.125 / 1.5, 0.0])


def test_grad_cam_is_zero_where_nothing_speaks_for_the_class():
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU()), nn.Flatten(), nn.Linear(4, 1, bias=False)
    )
    model[2].weight.data = -torch.ones(1, 4)
    heat = grad_cam(model, torch.ones(1, 1, 2, 2), stage=model[0][1], label=0)
    assert heat.tolist() == [[0, 0], [0, 0]]


@pytest.fixture(params=["cnn", "resnet"])
def model(request) -> nn.Module:
    settings = {
        "cnn": {"kind": "cnn", "filters": [4, 4, 8, 8, 8], "dense": 8, "activation": "mish"},
        "resnet": {"kind": "resnet", "backbone": "resnet18", "weights": "none"},
    }
    torch.manual_seed(0)
    experiment = Experiment.model_validate(
        {"model": settings[request.param], "data": {"image_size": 64}}
    )
    return build_model(experiment, classes=3, weights=None)


def test_every_stage_of_both_families_has_maps(model):
    maps = feature_maps(model, torch.randn(1, 3, 64, 64))
    assert len(maps) == 5
    assert list(maps) == list(stages(model))
    sides = [stage.shape[1] for stage in maps.values()]
    assert sides == sorted(sides, reverse=True)
    assert first_layer_filters(model).shape[1] == 3


def test_a_block_with_residual_blocks_ends_with_the_last_of_them():
    given = CnnConfig(filters=[8] * 5, residual_blocks=2, squeeze_excite=4)
    cnn = build_cnn(given, classes=3, image_size=64)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        behind_the_first_block = cnn.eval()[0](image)[0]
    torch.testing.assert_close(feature_maps(cnn, image)["block 1"], behind_the_first_block)


def test_both_families_have_gradients_and_heat_for_their_last_stage(model):
    image = torch.randn(1, 3, 64, 64)
    name, stage = list(stages(model).items())[-1]
    neurons = busiest_neurons(feature_maps(model, image)[name], 5)
    assert len({neuron.channel for neuron in neurons}) == 5
    for neuron in neurons[:2]:
        gradient = guided_backpropagation(model, image, stage=stage, neuron=neuron)
        assert gradient.shape == (3, 64, 64)
        assert gradient.abs().sum() > 0
        assert not gradient.equal(plain_gradient(model, image, stage=stage, neuron=neuron))
    heat = grad_cam(model, image, stage=stage, label=1)
    assert heat.shape == (64, 64)
    assert 0 <= float(heat.min()) <= float(heat.max()) <= 1


def test_frozen_layers_let_gradients_pass_and_keep_none(model):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    image = torch.randn(1, 3, 64, 64)
    name, stage = list(stages(model).items())[-1]
    (neuron,) = busiest_neurons(feature_maps(model, image)[name], 1)
    assert guided_backpropagation(model, image, stage=stage, neuron=neuron).abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())


def test_a_network_is_as_before_also_after_an_error(model):
    model.train()
    image = torch.randn(2, 3, 64, 64)
    before = model(image).detach()
    stage = list(stages(model).values())[-1]
    with pytest.raises(IndexError):
        guided_backpropagation(model, image[:1], stage=stage, neuron=Neuron(10**6, 0, 0))
    assert model.training
    assert all("forward" not in vars(module) for module in model.modules())
    assert all(not module._forward_hooks for module in model.modules())
    assert model(image).equal(before)


def test_the_busiest_neurons_are_the_strongest_places_of_the_strongest_channels():
    maps = torch.zeros(3, 2, 2)
    maps[0, 0, 1], maps[1, 1, 0], maps[2, 1, 1] = 1.0, 3.0, 2.0
    assert busiest_neurons(maps, 2) == [Neuron(1, 1, 0), Neuron(2, 1, 1)]
