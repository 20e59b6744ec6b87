"""torchvision's ResNets with an output layer for other classes."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inat_ray.config.errors import UserError
from inat_ray.config.model import ResnetConfig
from inat_ray.models.weights import Weights, unusable

if TYPE_CHECKING:
    from torchvision.models import ResNet

HEAD = "fc"
"""Where a ResNet keeps its output layer, with its dropout if it has one."""

SHOWN_NAMES = 3


def build_resnet(config: ResnetConfig, *, classes: int, weights: Weights | None) -> "ResNet":
    """Images (n, 3, s, s) to logits (n, classes); without weights, torchvision's initialisation.

    The output layer is always new. Raises UserError where the weights are another network's.
    """
    from torchvision.models import get_model  # 3 s, which no CNN is to wait for

    model: ResNet = get_model(config.backbone, weights=None)
    model.fc = output_layer(model.fc.in_features, classes, dropout=config.dropout)
    if weights is not None:
        load_backbone(model, weights.state, where=f"model.weights: {config.weights}")
    return model


def output_layer(features: int, classes: int, *, dropout: float) -> nn.Module:
    """Features (n, features) to logits (n, classes)."""
    linear = nn.Linear(features, classes)
    if not dropout:
        return linear
    return nn.Sequential(OrderedDict(dropout=nn.Dropout(dropout), linear=linear))


def backbone_features(model: "ResNet", images: Tensor) -> Tensor:
    """Images (n, 3, s, s) to what the output layer sees: (n, features)."""
    x = model.maxpool(model.relu(model.bn1(model.conv1(images))))
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        x = stage(x)
    return torch.flatten(model.avgpool(x), 1)


def load_backbone(model: "ResNet", state: Mapping[str, Tensor], *, where: str) -> None:
    """Copies all but the output layer from `state`. Raises UserError as `check_backbone`."""
    check_backbone(model, state, where=where)
    model.load_state_dict(_backbone(state), strict=False)


def check_backbone(model: nn.Module, state: Mapping[str, Tensor], *, where: str) -> None:
    """Raises UserError that begins with `where` if names or shapes are not this network's.

    `model` may be on the meta device.
    """
    wanted, given = _backbone(model.state_dict()), _backbone(state)
    # Files from before PyTorch 0.4.1 lack these counters, which nothing here uses.
    needed = [name for name in wanted if not name.endswith("num_batches_tracked")]
    wrong = {
        "missing": [name for name in needed if name not in given],
        "unknown": [name for name in given if name not in wanted],
        "of another shape": [
            name for name in wanted if name in given and given[name].shape != wanted[name].shape
        ],
    }
    if not any(wrong.values()):
        wrong = _by_reason({name: unusable(given[name], wanted[name]) for name in given})
    found = [f"{len(names)} {what} ({_some(names)})" for what, names in wrong.items() if names]
    if found:
        raise UserError(f"{where}: are not the weights of this backbone: {'; '.join(found)}")


def _by_reason(problems: Mapping[str, str | None]) -> dict[str, list[str]]:
    reasons = sorted({reason for reason in problems.values() if reason})
    return {reason: [n for n, found in problems.items() if found == reason] for reason in reasons}


def _backbone(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict without the output layer's entries."""
    return {name: tensor for name, tensor in state.items() if not name.startswith(f"{HEAD}.")}


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
