from typing import get_args

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from inat_ray.config.model import RESNET_LAYERS, CnnConfig, ResnetConfig
from inat_ray.models.cnn import build_cnn
from inat_ray.models.layers import layers_of, stages_of
from inat_ray.models.resnet import build_resnet


def resnet(backbone: str, *, dropout: float = 0.0) -> nn.Module:
    config = ResnetConfig(kind="resnet", backbone=backbone, weights="none", dropout=dropout)
    with torch.device("meta"):
        return build_resnet(config, classes=3, weights=None)


def test_every_backbone_has_its_size():
    assert set(RESNET_LAYERS) == set(get_args(ResnetConfig.model_fields["backbone"].annotation))


@pytest.mark.parametrize("backbone", RESNET_LAYERS)
def test_a_resnet_has_as_many_layers_as_the_settings_say(backbone):
    assert len(layers_of(resnet(backbone))) == RESNET_LAYERS[backbone]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "cnn"])
def test_layers_stand_in_the_order_in_which_they_run(name):
    if name == "cnn":
        model = build_cnn(CnnConfig(), classes=3, image_size=32).to("meta").eval()
    else:
        model = resnet(name, dropout=0.5).eval()
    ran: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda module, *_: ran.append(module))
    model(torch.empty(1, 3, 32, 32, device="meta"))
    assert [layer.modules[0] for layer in layers_of(model)] == ran


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_every_parameter_belongs_to_one_layer_and_every_entry_of_the_state_too(backbone):
    model = resnet(backbone)
    layers = layers_of(model)
    owned = [id(p) for layer in layers for p in layer.parameters]
    assert sorted(owned) == sorted(id(p) for p in model.parameters())
    for key in model.state_dict():
        assert sum(layer.owns(key) for layer in layers) == 1, key


def test_a_batch_norm_belongs_to_the_convolution_before_it():
    for layer in layers_of(resnet("resnet50"))[:-1]:
        convolution, norm = layer.modules
        assert convolution.out_channels == norm.num_features


def test_a_resnets_stages_are_its_stem_its_groups_of_blocks_and_its_head():
    stages = stages_of(layers_of(resnet("resnet50")))
    assert stages == sorted(stages)
    assert [stages.count(stage) for stage in range(6)] == [1, 10, 13, 19, 10, 1]


class WithParameter(nn.Module):
    """A network with a parameter that stands in no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.dense = nn.Linear(2, 2)


def tied() -> nn.Module:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    return nn.Sequential(first, second)


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (WithParameter(), "no layer owns scale:"),
        (nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), r"no layer owns 1\.weight, 1\.bias:"),
        (nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2)), r"no layer owns 0\.weight:"),
        (parametrizations.weight_norm(nn.Linear(2, 2)), r"no layer owns parametrizations\.weight"),
        (tied(), r"several layers own 0\.weight"),
    ],
)
def test_a_parameter_without_a_layer_or_with_two_is_refused(model, complaint):
    with pytest.raises(AssertionError, match=complaint):
        layers_of(model)
