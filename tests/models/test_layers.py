import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from inat_ray.config.model import CnnConfig, ResnetConfig
from inat_ray.models.cnn import build_cnn
from inat_ray.models.layers import Layer, layers_of, stages_of
from inat_ray.models.pretrained import build_pretrained
from inat_ray.models.trace import trace


def resnet(backbone: str, *, dropout: float = 0.0) -> nn.Module:
    config = ResnetConfig(kind="resnet", backbone=backbone, weights="none", dropout=dropout)
    with torch.device("meta"):
        return build_pretrained(config, classes=3, image_size=32)


def layers(model: nn.Module, size: int = 32) -> list[Layer]:
    device = next(model.parameters()).device
    return layers_of(model, trace(model, torch.empty(1, 3, size, size, device=device)))


@pytest.mark.parametrize(
    ("backbone", "count"), [("resnet18", 21), ("resnet50", 54), ("resnet152", 156)]
)
def test_the_layers_of_a_resnet_are_its_convolutions_and_the_output_layer(backbone, count):
    assert len(layers(resnet(backbone))) == count


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "cnn"])
def test_layers_stand_in_the_order_in_which_they_run(name):
    if name == "cnn":
        model = build_cnn(CnnConfig(), classes=3, image_size=32).to("meta").eval()
    else:
        model = resnet(name, dropout=0.5).eval()
    found = [layer.modules[0] for layer in layers(model)]
    ran: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda module, *_: ran.append(module))
    model(torch.empty(1, 3, 32, 32, device="meta"))
    assert found == ran


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_every_parameter_belongs_to_one_layer_and_every_entry_of_the_state_too(backbone):
    model = resnet(backbone)
    found = layers(model)
    owned = [id(p) for layer in found for p in layer.parameters]
    assert sorted(owned) == sorted(id(p) for p in model.parameters())
    for key in model.state_dict():
        assert sum(layer.owns(key) for layer in found) == 1, key


def test_a_batch_norm_belongs_to_the_convolution_before_it():
    for layer in layers(resnet("resnet50"))[:-1]:
        convolution, norm = layer.modules
        assert convolution.out_channels == norm.num_features


def test_a_resnets_stages_are_its_stem_its_groups_of_blocks_and_its_head():
    stages = stages_of([layer.name for layer in layers(resnet("resnet50"))])
    assert stages == sorted(stages)
    assert [stages.count(stage) for stage in range(6)] == [1, 10, 13, 19, 10, 1]


class Block(nn.Module):
    """A residual block as in a ViT or a ConvNeXt: a norm before, a scale after, and attention."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.scale = nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        seen = self.norm(x)
        attended: Tensor = self.attention(seen, seen, seen, need_weights=False)[0]
        return x + self.scale * attended


class Tokens(nn.Module):
    """A small network with all that has no layer of its own, written down in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.norm = nn.LayerNorm(8)
        self.block = Block()
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.stem_norm = nn.BatchNorm2d(8)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.position = nn.Parameter(torch.zeros(1, 17, 8))
        self.drop = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.stem_norm(self.patches(images)).flatten(2).mT
        x = torch.cat([self.token.expand(len(images), -1, -1), patches], 1) + self.position
        result: Tensor = self.head(self.drop(self.norm(self.block(x))[:, 0]))
        return result


def test_norms_scales_tokens_and_positions_join_the_layer_that_they_serve():
    found = layers(Tokens())
    assert [layer.names for layer in found] == [
        ("patches", "stem_norm", ""),
        ("block.attention", "block.attention.out_proj", "norm", "block", "block.norm"),
        ("head",),
    ]
    assert [len(layer.stateless) for layer in found] == [0, 0, 1]


def test_weight_decay_acts_on_weights_alone():
    model = Tokens()
    names = {id(p): name for name, p in model.named_parameters()}
    decayed = {
        names[id(p)] for layer in layers(model) for p in layer.parameters if layer.is_weight(p)
    }
    attention = "block.attention"
    assert decayed == {
        "patches.weight",
        f"{attention}.in_proj_weight",
        f"{attention}.out_proj.weight",
        "head.weight",
    }


def tied() -> nn.Module:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 4), first, second)


def test_a_parameter_of_two_layers_is_the_first_ones_and_both_are_saved():
    model = tied()
    found = layers(model)
    assert found[1].parameters == (model[3].weight, model[3].bias)
    assert found[2].parameters == (model[4].bias,)
    assert found[2].owns("4.weight")


def test_a_parametrized_layer_is_one_layer():
    model = nn.Sequential(nn.Flatten(), parametrizations.weight_norm(nn.Linear(3072, 3)))
    (layer,) = layers(model)
    assert len(layer.parameters) == 3
    assert layer.name == "1"
