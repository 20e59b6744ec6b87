"""Gradients back to the image, on networks small enough to work them out by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inat_ray.config.experiment import Experiment
from inat_ray.config.model import CnnConfig
from inat_ray.models.build import build_model
from inat_ray.models.cnn import ACTIVATIONS, build_cnn
from inat_ray.page.attribution import (
    Neuron,
    UnexplainedError,
    busiest_neurons,
    grad_cam,
    guided_backpropagation,
    watch,
)

HERE = Neuron(0, 0, 0)


def two_layers(activation: type[nn.Module]) -> nn.Sequential:
    """Each pixel: x -> h = a(2 x0 - x1), a(-3 x0 + x1), a(x0 + x1) -> a(h0 - h1 + 4 h2)."""
    first, second = nn.Conv2d(2, 3, 1, bias=False), nn.Conv2d(3, 1, 1, bias=False)
    first.weight.data = torch.tensor([[2.0, -1.0], [-3.0, 1.0], [1.0, 1.0]]).view(3, 2, 1, 1)
    second.weight.data = torch.tensor([[1.0, -1.0, 4.0]]).view(1, 3, 1, 1)
    return nn.Sequential(nn.Sequential(first, activation()), nn.Sequential(second, activation()))


class Classified(nn.Module):
    """A network that classifies by the mean of its last maps."""

    def __init__(self, maps: nn.Module) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.maps(images).mean(dim=(2, 3))
        return result


def pixel(*channels: float) -> Tensor:
    """Four of them, two by two: a map has two rows at least."""
    return torch.tensor(channels).float().view(1, -1, 1, 1).repeat(1, 1, 2, 2)


def plain_gradient(model: nn.Module, image: Tensor, neuron: Neuron) -> Tensor:
    seen = watch(model, image)
    maps = seen.maps[-1].of(seen.maps[-1].output)
    excitation = maps[neuron.channel, neuron.row, neuron.column]
    return torch.autograd.grad(excitation, seen.pixels)[0][0]


def guided_gradient(model: nn.Module, image: Tensor, neuron: Neuron) -> Tensor:
    return guided_backpropagation(model, watch(model, image), [neuron])[0]


def explained(model: nn.Sequential, image: Tensor) -> tuple[list[float], list[float]]:
    """The plain and the guided gradient of the last layer's first neuron at its own pixel."""
    network = Classified(model)
    both = plain_gradient(network, image, HERE), guided_gradient(network, image, HERE)
    assert not any(gradient.flatten(1)[:, 1:].any() for gradient in both)
    return both[0][:, 0, 0].tolist(), both[1][:, 0, 0].tolist()


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
    inner = first @ image[0, :, 0, 0]
    outer = second @ activation(inner)
    at_hidden = second.T @ derivative(outer)  # what arrives at the first activations
    passed = at_hidden.clamp(min=0) * derivative(inner) * (activation(inner) > 0)
    _, guided = explained(model, image)
    assert guided == pytest.approx((first.T @ passed).tolist(), rel=1e-5)
    # h0 has a negative input, where these have a gradient and ReLU has none.
    assert float(derivative(inner)[0]) != 0


def test_a_neuron_at_the_cap_of_relu6_has_the_gradient_of_relu():
    # As above, but twice as much: y is 35, and is cut off at 6.
    plain, guided = explained(two_layers(nn.ReLU6), pixel(2, 7))
    assert plain == [0, 0]
    assert guided == [4, 4]


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
    _, heat = grad_cam(watch(model, image), label=0)
    assert heat.flatten().tolist() == pytest.approx([1.0, 0.5, 0.125 / 1.5, 0.0])


def test_grad_cam_is_zero_where_nothing_speaks_for_the_class():
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU()), nn.Flatten(), nn.Linear(4, 1, bias=False)
    )
    model[2].weight.data = -torch.ones(1, 4)
    _, heat = grad_cam(watch(model, torch.ones(1, 1, 2, 2)), label=0)
    assert heat.tolist() == [[0, 0], [0, 0]]


SMALL_CNN = {"kind": "cnn", "filters": [4, 4, 8, 8, 8], "dense": 8, "activation": "mish"}
FROM_SCRATCH = {"kind": "pretrained", "weights": "none"}
FAMILIES = {
    "cnn": SMALL_CNN,
    "resnet18": {**FROM_SCRATCH, "backbone": "resnet18"},
    "vit": {**FROM_SCRATCH, "source": "timm", "backbone": "vit_tiny_patch16_224"},
    "convnext": {**FROM_SCRATCH, "source": "timm", "backbone": "convnext_atto"},
    "swin": {**FROM_SCRATCH, "backbone": "swin_t"},
}


EVERY_FAMILY = [
    pytest.param(family, marks=[pytest.mark.slow] if family == "swin" else [])
    for family in FAMILIES
]


def built(family: str) -> nn.Module:
    experiment = Experiment.model_validate(
        {"model": FAMILIES[family], "data": {"image_size": 64}, "seed": 1}
    )
    return build_model(experiment, classes=3, weights=None)


@pytest.fixture(params=["cnn", "resnet18"])
def model(request) -> nn.Module:
    return built(request.param)


def image() -> Tensor:
    return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("family", "sides", "last"),
    [
        ("cnn", [64, 32, 16, 8, 4], "4.2"),
        ("resnet18", [32, 16, 8, 4, 2], "layer4"),
        ("vit", [4], "norm"),
        ("convnext", [16, 8, 4, 2], "norm_pre"),
        pytest.param("swin", [16, 8, 4, 2], "permute", marks=pytest.mark.slow),
    ],
)
def test_the_last_maps_of_each_size_are_found_in_every_family(family, sides, last):
    seen = watch(built(family), image())
    assert [maps.side for maps in seen.stages] == sides
    assert seen.stages[-1].name == last
    assert all(maps.of(maps.output).shape[1:] == (maps.side, maps.side) for maps in seen.stages)


def test_tokens_and_maps_with_channels_last_become_maps_row_by_row():
    """Each place of the map is that of the image: one bright patch is the same in all layouts."""

    class Marked(nn.Module):
        """Maps, channels last, and tokens behind a class token, of the same means of patches."""

        def __init__(self) -> None:
            super().__init__()
            self.maps, self.last, self.tokens = nn.Conv2d(3, 1, 8, 8), *(nn.Identity(),) * 2
            nn.init.ones_(self.maps.weight)

        def forward(self, images: Tensor) -> Tensor:
            found = self.last(self.maps(images).permute(0, 2, 3, 1)).flatten(1, 2)
            tokens = self.tokens(torch.cat([torch.full((1, 1, 1), 1e6), found], dim=1))
            result: Tensor = tokens.mean(dim=1)
            return result

    pixels = torch.zeros(1, 3, 64, 64)
    pixels[:, :, 16:24, 40:48] = 1
    maps = watch(Marked(), pixels).maps
    # The two identities are one module, which runs twice.
    assert [each.layout for each in maps] == ["channels first", "channels last", "tokens"]
    for each in maps:
        (channel,) = each.of(each.output)
        assert divmod(int(channel.argmax()), 8) == (2, 5)


def test_what_a_pool_leaves_is_no_map_of_its_own():
    network = Classified(nn.Sequential(nn.Sequential(nn.Conv2d(3, 2, 1), nn.MaxPool2d(2))))
    assert [maps.name for maps in watch(network, image()).maps] == ["maps.0.0"]


def test_the_last_maps_of_residual_blocks_are_those_behind_the_last_of_them():
    given = CnnConfig(filters=[8] * 5, residual_blocks=2, squeeze_excite=4)
    cnn = build_cnn(given, classes=3, image_size=64)
    with torch.no_grad():
        behind_the_last_block = cnn.eval()[:5](image())[0]
    last = watch(cnn, image()).stages[-1]
    torch.testing.assert_close(last.of(last.output), behind_the_last_block)


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_every_family_has_heat_where_the_logit_depends_on_the_maps(family):
    found = [grad_cam(watch(built(family), image()), label=label) for label in range(3)]
    assert all(heat.shape == (64, 64) and float(heat.min()) >= 0 for _, heat in found)
    assert max(float(heat.max()) for _, heat in found) == 1
    maps, _ = found[0]
    # The class token alone is classified: behind the last attention, patches do not matter.
    assert (family == "vit") == (maps.name == "blocks.11.norm1")


@pytest.mark.parametrize("family", ["cnn", "resnet18", "convnext"])
def test_networks_with_rectifiers_have_guided_gradients(family):
    network = built(family)
    seen = watch(network, image())
    last = seen.stages[-1]
    neurons = busiest_neurons(last.of(last.output), 5)
    assert len({neuron.channel for neuron in neurons}) == 5
    for neuron, gradient in zip(
        neurons, guided_backpropagation(network, seen, neurons), strict=True
    ):
        assert gradient.shape == (3, 64, 64)
        assert gradient.abs().sum() > 0
        assert not gradient.equal(plain_gradient(network, image(), neuron))


@pytest.mark.parametrize("family", ["vit", pytest.param("swin", marks=pytest.mark.slow)])
def test_guided_gradients_of_attention_are_refused(family):
    network = built(family)
    with pytest.raises(UnexplainedError, match="has attention"):
        guided_backpropagation(network, watch(network, image()), [HERE])


def test_guided_gradients_without_a_rectifier_are_refused():
    network = Classified(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Sigmoid()))
    with pytest.raises(UnexplainedError, match="no ReLU"):
        guided_gradient(network, image(), HERE)


@pytest.mark.parametrize(
    "rectify",
    [F.relu, torch.relu, lambda x: F.relu(x, inplace=True), lambda x: x.relu(), nn.ReLU6()],
    ids=["F.relu", "torch.relu", "in place", "method", "ReLU6"],
)
def test_a_rectifier_is_guided_however_it_is_called(rectify):
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(2, 3, 1, bias=False), nn.Conv2d(3, 1, 1, bias=False)

        def forward(self, images: Tensor) -> Tensor:
            result: Tensor = rectify(self.second(rectify(self.first(images))))
            return result

    layers, network = two_layers(nn.ReLU), Functional()
    network.load_state_dict(
        {"first.weight": layers[0][0].weight, "second.weight": layers[1][0].weight}
    )
    gradient = guided_gradient(Classified(network), pixel(0.2, 0.7), HERE)
    assert gradient[:, 0, 0].tolist() == [4, 4]


def test_a_network_without_maps_is_refused():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 3))
    with pytest.raises(UnexplainedError, match="none of its layers makes a map"):
        grad_cam(watch(network, image()), label=0)


def test_frozen_layers_let_gradients_pass_and_keep_none(model):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    last = watch(model, image()).stages[-1]
    (neuron,) = busiest_neurons(last.of(last.output), 1)
    assert guided_gradient(model, image(), neuron).abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())


def test_a_network_is_as_before_also_after_an_error(model):
    model.train()
    two = torch.cat([image(), image()])
    before = model(two).detach()
    with pytest.raises(IndexError):
        guided_gradient(model, image(), Neuron(10**6, 0, 0))
    with pytest.raises(RuntimeError):
        watch(model, torch.zeros(1, 5, 64, 64))
    assert model.training
    assert all(not module._forward_hooks for module in model.modules())
    assert model(two).equal(before)


def test_the_busiest_neurons_are_the_strongest_places_of_the_strongest_channels():
    maps = torch.zeros(3, 2, 2)
    maps[0, 0, 1], maps[1, 1, 0], maps[2, 1, 1] = 1.0, 3.0, 2.0
    assert busiest_neurons(maps, 2) == [Neuron(1, 1, 0), Neuron(2, 1, 1)]
