"""Networks of torchvision and timm with an output layer for other classes."""

import inspect
import sys
import warnings
from collections import OrderedDict
from contextlib import suppress
from typing import Any

from torch import Tensor, nn

from inat_ray.config.errors import UserError
from inat_ray.config.model import PretrainedConfig


def build_pretrained(config: PretrainedConfig, *, classes: int, image_size: int) -> nn.Module:
    """Images (n, 3, image_size, image_size) to logits (n, classes).

    The network as its source initializes it; the output layer is always new. Raises UserError if
    it has no output layer that could be replaced.
    """
    build = _timm if config.source == "timm" else _torchvision
    model = build(config, image_size)
    replace_output(model, config, classes=classes)
    return model


def _torchvision(config: PretrainedConfig, image_size: int) -> nn.Module:
    """The network with its source's own classes."""
    from torchvision import models  # 3 s, for which no CNN is to wait

    takes = inspect.signature(models.get_model_builder(config.backbone)).parameters
    # Auxiliary classifiers (Inception, GoogLeNet) would make the output a tuple.
    options: dict[str, Any] = (
        {"aux_logits": False, "init_weights": True} if "aux_logits" in takes else {}
    )
    if config.backbone.startswith("vit_"):
        options["image_size"] = image_size  # of its position embedding
    elif config.backbone == "maxvit_t":
        options["input_size"] = (image_size, image_size)
    network: nn.Module = models.get_model(config.backbone, weights=None, **options)
    return network


def for_size(
    model: nn.Module, config: PretrainedConfig, state: dict[str, Tensor], *, image_size: int
) -> dict[str, Tensor]:
    """Returns weights with positions for images of another size than theirs, by interpolation.

    The sources' own functions do it. Where they cannot, weights are returned as they are.
    """
    adapted = state
    # Another network's weights can fail there in any way. The warnings are of timm's own doing.
    with suppress(Exception), warnings.catch_warnings(action="ignore"):
        if config.source == "timm":  # each of its files of networks has such a function, or none
            there = sys.modules[type(model).__module__]
            adapt: Any = getattr(there, "checkpoint_filter_fn", lambda state, _: state)
            adapted = adapt(dict(state), model)
        elif isinstance(side := getattr(model, "patch_size", None), int):  # a ViT
            from torchvision.models.vision_transformer import interpolate_embeddings

            adapted = interpolate_embeddings(image_size, side, OrderedDict(state))
    return adapted


class Output(nn.Sequential):
    """Dropout, and the output layer after it."""

    def __init__(self, layer: nn.Module, *, dropout: float) -> None:
        super().__init__(OrderedDict(dropout=nn.Dropout(dropout), linear=layer))


def replace_output(model: nn.Module, config: PretrainedConfig, *, classes: int) -> None:
    """Puts a new output layer for `classes` in the place of the network's own.

    The network's own dropout before that layer goes: the setting's is there instead.
    """
    name = output_name(model, config)
    for module in model.get_submodule(name.rpartition(".")[0]).children():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    layer = _like(model.get_submodule(name), classes)
    model.set_submodule(name, Output(layer, dropout=config.dropout) if config.dropout else layer)


def output_name(model: nn.Module, config: PretrainedConfig) -> str:
    """Returns the name of a network's output layer. Raises UserError if it has not one alone."""
    if config.source == "timm":
        head: Any = getattr(model, "get_classifier", lambda: None)()
        found = [name for name, module in model.named_modules() if module is head]
    else:  # All classifiers of torchvision end in it, in the order in which they are written down.
        layers = (nn.Conv2d, nn.Linear)
        found = [name for name, module in model.named_modules() if isinstance(module, layers)][-1:]
    name = found[0] if found else ""
    if not isinstance(model.get_submodule(name), nn.Conv2d | nn.Linear):
        raise UserError(
            f"model.backbone: {config.backbone}: has not one output layer, convolution or dense;"
            " a backbone that has is allowed"
        )
    return name


def _like(old: nn.Module, classes: int) -> nn.Module:
    """A new layer for other classes in the place of an old one."""
    if isinstance(old, nn.Conv2d):
        return nn.Conv2d(old.in_channels, classes, old.kernel_size)  # type: ignore[arg-type]
    assert isinstance(old, nn.Linear)
    return nn.Linear(old.in_features, classes)


def _timm(config: PretrainedConfig, image_size: int) -> nn.Module:
    import timm

    found = timm.get_pretrained_cfg(config.backbone)
    is_fixed = found is not None and found.fixed_input_size
    options: dict[str, Any] = {"img_size": image_size} if is_fixed else {}
    network: nn.Module = timm.create_model(config.backbone, **options)
    return network
