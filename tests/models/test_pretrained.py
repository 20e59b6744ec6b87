"""The families of torchvision and timm, built and frozen alike."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from inat_ray.config.backbones import IMAGENET_MEAN, IMAGENET_STD
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.models.build import build_model, hollow_model, structure_of
from inat_ray.models.freeze import freezing_of, set_trained, training_mode
from inat_ray.models.head import head_inputs, head_name
from inat_ray.models.layers import layers_of
from inat_ray.models.pretrained import for_size
from inat_ray.models.weights import Weights

TORCHVISION = [
    "resnet18",
    "resnet50",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "convnext_tiny",
    "vit_b_16",
    "swin_t",
    "densenet121",
    "regnet_y_400mf",
]

TIMM = [
    "tf_efficientnet_lite0",
    "mobilenetv4_conv_small",
    "convnext_atto",
    "vit_tiny_patch16_224",
    "repvgg_a0",
]

QUICK = {"resnet18", "mobilenet_v3_small", "convnext_atto", "vit_tiny_patch16_224"}
"""One of each kind in the default suite, all of them in `make test-slow`."""

slow = pytest.mark.slow

BACKBONES = [
    pytest.param(source, name, marks=[] if name in QUICK else slow)
    for source, names in (("torchvision", TORCHVISION), ("timm", TIMM))
    for name in names
]

every_backbone = pytest.mark.parametrize(("source", "backbone"), BACKBONES)

CLASSES = 3


def settings(source: str, backbone: str, **model: object) -> Experiment:
    named = {"kind": "pretrained", "source": source, "backbone": backbone, "weights": "none"}
    return Experiment.model_validate({"data": {"image_size": 32}, "model": {**named, **model}})


def images(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@every_backbone
def test_a_backbone_gives_logits_and_its_layers_own_all_of_it_once(source, backbone):
    experiment = settings(source, backbone)
    model = hollow_model(experiment, classes=CLASSES)
    layers = layers_of(model, structure_of(model, experiment, classes=CLASSES))
    owned = [id(p) for layer in layers for p in layer.parameters]
    assert sorted(owned) == sorted(id(p) for p in model.parameters())
    for key in model.state_dict():
        assert sum(layer.owns(key) for layer in layers) == 1, key
    head = head_name(model, experiment.model)
    assert layers[-1].name == head
    assert {p.shape[0] for p in layers[-1].parameters} == {CLASSES}


@every_backbone
def test_a_step_moves_what_trains_and_nothing_else(source, backbone):
    model = build_model(settings(source, backbone), classes=CLASSES, weights=None)
    for freeze in ({"strategy": "fraction", "fraction": 0.5}, {"strategy": "freeze_fc"}):
        experiment = settings(source, backbone, freeze=freeze)
        structure = structure_of(model, experiment, classes=CLASSES)
        layers = layers_of(model, structure)
        trained = freezing_of(model, experiment.model, structure).trained(0)
        model.zero_grad()
        set_trained(layers, trained)
        training_mode(model, layers, trained)
        before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
        model(images(8)).logsumexp(1).sum().backward()
        optimizer.step()
        after = model.state_dict()
        for layer, trains in zip(layers, trained, strict=True):
            assert {p.grad is not None for p in layer.parameters} == {trains}, layer.name
            if not trains:
                assert all(after[key].equal(before[key]) for key in before if layer.owns(key))
        assert not all(after[key].equal(before[key]) for key in before)
        model.requires_grad_()


@every_backbone
def test_a_seed_gives_the_same_network_whose_state_and_whose_head_give_its_logits(source, backbone):
    experiment = settings(source, backbone, dropout=0.5)
    first, second = (
        build_model(experiment, classes=CLASSES, weights=None).eval() for _ in range(2)
    )
    assert all(a.equal(b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    nn.init.normal_(next(second.parameters()))
    second.load_state_dict(first.state_dict())
    logits = first(images())
    assert logits.equal(second(images()))
    assert structure_of(first, experiment, classes=CLASSES).ends_in_last_layer
    head = head_name(first, experiment.model)
    assert head is not None
    assert first.get_submodule(head)(head_inputs(first, head, images())).equal(logits)


def test_a_network_that_pools_after_its_output_layer_is_known():
    experiment = settings("torchvision", "squeezenet1_1")
    model = build_model(experiment, classes=CLASSES, weights=None)
    assert not structure_of(model, experiment, classes=CLASSES).ends_in_last_layer
    assert head_name(model, experiment.model) == "classifier.1"


def test_dropout_is_the_settings_and_not_the_networks_own():
    experiment = settings("torchvision", "efficientnet_b0", dropout=0.25)
    model = build_model(experiment, classes=CLASSES, weights=None)
    rates = {name: m.p for name, m in model.named_modules() if isinstance(m, nn.Dropout)}
    assert rates == {"classifier.0": 0.0, "classifier.1.dropout": 0.25}


@pytest.mark.parametrize(
    ("source", "backbone", "message"),
    [
        ("torchvision", "efficientnet_b9", "did you mean efficientnet_b"),
        ("timm", "vit_tiny", "did you mean vit_tiny_patch16_224"),
    ],
)
def test_a_backbone_that_does_not_exist_is_told_with_the_nearest_that_do(source, backbone, message):
    with pytest.raises(ValueError, match=message):
        settings(source, backbone)


def test_a_backbone_with_two_output_layers_is_refused():
    experiment = settings("timm", "deit_tiny_distilled_patch16_224")
    with pytest.raises(UserError, match="has not one output layer"):
        build_model(experiment, classes=CLASSES, weights=None)


def test_images_that_a_network_cannot_take_are_told():
    experiment = settings("torchvision", "alexnet")
    model = build_model(experiment, classes=CLASSES, weights=None)
    with pytest.raises(UserError, match="alexnet: does not run on images of 32 x 32 pixels"):
        structure_of(model, experiment, classes=CLASSES)


def at_size(size: int, source: str, backbone: str) -> Experiment:
    experiment = settings(source, backbone)
    data = experiment.data.model_copy(update={"image_size": size})
    return experiment.model_copy(update={"data": data})


SMALL_VITS = ["vit_tiny_patch16_224", pytest.param("swin_tiny_patch4_window7_224", marks=slow)]


@pytest.mark.parametrize("backbone", SMALL_VITS)
def test_weights_for_one_size_of_images_serve_another(backbone):
    large, small = (at_size(size, "timm", backbone) for size in (64, 32))
    state = build_model(large, classes=CLASSES, weights=None).state_dict()
    weights = Weights(state, IMAGENET_MEAN, IMAGENET_STD)
    model = build_model(small, classes=CLASSES, weights=weights).eval()
    assert model(images()).shape == (2, CLASSES)
    kept = model.state_dict()
    same = {name for name in state if kept[name].shape == state[name].shape}
    changed = {name.rpartition(".")[2] for name in state.keys() - same}
    assert changed <= {"pos_embed", "relative_position_bias_table"}
    assert changed or backbone.startswith("swin")
    head = head_name(model, small.model)
    assert all(kept[n].equal(state[n]) for n in same if not n.startswith(f"{head}."))


def test_positions_of_torchvisions_vit_are_interpolated_and_its_class_token_is_kept():
    experiment = at_size(160, "torchvision", "vit_b_16")
    model = hollow_model(experiment, classes=CLASSES)
    given = torch.full((1, 1 + 14**2, 768), 3.0)
    given[:, 0] = 5.0
    state = {"encoder.pos_embedding": given, "class_token": torch.ones(1)}
    found = for_size(model, experiment.model, state, image_size=160)
    assert found["class_token"] is state["class_token"]
    positions = found["encoder.pos_embedding"]
    assert positions.shape == model.encoder.pos_embedding.shape == (1, 1 + 10**2, 768)
    assert positions[:, 0].equal(given[:, 0])
    torch.testing.assert_close(positions[:, 1:], torch.full((1, 100, 768), 3.0))
    assert given.shape == state["encoder.pos_embedding"].shape


@slow
def test_torchvisions_vit_starts_from_weights_for_224_pixels_at_160():
    large, small = (at_size(size, "torchvision", "vit_b_16") for size in (224, 160))
    state = build_model(large, classes=CLASSES, weights=None).state_dict()
    weights = Weights(state, IMAGENET_MEAN, IMAGENET_STD)
    model = build_model(small, classes=CLASSES, weights=weights)
    structure_of(model, small, classes=CLASSES)
    assert model.conv_proj.weight.equal(state["conv_proj.weight"])


def test_a_size_that_a_network_cannot_be_built_for_is_told():
    experiment = at_size(160, "torchvision", "maxvit_t")
    for build in (hollow_model, partial(build_model, weights=None)):
        with pytest.raises(UserError, match=r"built for images of 160 pixels: Val") as caught:
            build(experiment, classes=CLASSES)
        assert "\n" not in str(caught.value)


def test_weights_whose_positions_cannot_be_interpolated_are_told_with_the_size():
    state = build_model(at_size(64, "timm", "pit_ti_224"), classes=CLASSES, weights=None)
    weights = Weights(state.state_dict(), IMAGENET_MEAN, IMAGENET_STD)
    experiment = at_size(96, "timm", "pit_ti_224")
    model = experiment.model.model_copy(update={"weights": "pit.pth"})
    with pytest.raises(UserError, match=r"pit\.pth, for images of 96 pixels: .*\(pos_embed\)"):
        build_model(
            experiment.model_copy(update={"model": model}), classes=CLASSES, weights=weights
        )
