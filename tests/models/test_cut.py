import pytest
import torch
from torch import nn

from inat_ray.config.experiment import Experiment
from inat_ray.models.build import build_model, structure_of
from inat_ray.models.cut import GraphCut, bytes_of, graph_cut
from inat_ray.models.freeze import freezing_of
from inat_ray.models.layers import layers_of
from inat_ray.models.trace import in_mode, trace

BACKBONES = [
    ("torchvision", "resnet18"),
    ("torchvision", "mobilenet_v3_small"),
    pytest.param("torchvision", "vit_b_16", marks=pytest.mark.slow),
    ("timm", "tf_efficientnet_lite0"),
    ("timm", "vit_tiny_patch16_224"),
]

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("source", "backbone"), BACKBONES)
def test_both_parts_together_give_the_networks_own_logits_and_features_own_what_is_frozen(
    source, backbone
):
    model, cut = cut_network(source, backbone)
    keys = list(model.state_dict())
    assert cut.owns(keys[0])
    assert not cut.owns(keys[-1])
    assert bytes_of(cut.shape) <= 10**6
    with in_mode(model, training=False), torch.no_grad():
        features = cut.before(model)(IMAGES)
        assert features[0].numel() * 4 == bytes_of(cut.shape)
        assert torch.equal(cut.after(model).eval()(features), model(IMAGES))


def cut_network(source: str, backbone: str) -> tuple[nn.Module, GraphCut]:
    named = {"kind": "pretrained", "source": source, "backbone": backbone, "weights": "none"}
    freeze = {"strategy": "fraction", "fraction": 0.8}
    experiment = Experiment.model_validate(
        {"data": {"image_size": 64}, "model": {**named, "freeze": freeze}}
    )
    model = build_model(experiment, classes=3, weights=None)
    structure = structure_of(model, experiment, classes=3)
    trained = freezing_of(model, experiment.model, structure).trained(0)
    cut = graph_cut(model, layers_of(model, structure), trained, IMAGES, most=10**6)
    assert cut is not None
    return model, cut


class Branching(nn.Module):
    """It looks at the numbers, which a trace cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 64, 9), nn.Linear(64, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.first(images)
        logits: torch.Tensor = self.last(maps.mean(dim=(2, 3)) if maps.sum() > -1e9 else maps)
        return logits


def test_a_network_that_cannot_be_traced_has_no_cut():
    model = Branching()
    layers = layers_of(model, trace(model, IMAGES))
    assert graph_cut(model, layers, [False, True], IMAGES, most=10**9) is None
