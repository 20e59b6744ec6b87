"""A network's parameters in the groups that an optimizer treats alike, and the optimizer itself."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from inat_ray.config.experiment import RecipeConfig
from inat_ray.models.layers import Layer
from inat_ray.optimizers.eager import without_compiler
from inat_ray.optimizers.muon import Muon
from inat_ray.optimizers.registry import OPTIMIZERS, Groups
from inat_ray.training.ranks import ALONE, Ranks


def build_optimizer(
    recipe: RecipeConfig, layers: Sequence[Layer | None], *, ranks: Ranks = ALONE
) -> torch.optim.Optimizer:
    """Returns the recipe's optimizer for a network's layers in forward order; a frozen one is None.

    A group's `lr_share` is its learning rate as a share of the output layer's. Several `ranks`
    divide among them what a step computes of the weights alone.
    """
    groups = parameter_groups(recipe, layers)
    without_compiler()
    optimizer = OPTIMIZERS[recipe.optimizer].build(groups, recipe.lr, recipe.momentum)
    if isinstance(optimizer, Muon):
        optimizer.divide(rank=ranks.rank, world_size=ranks.world_size)
    return optimizer


def parameter_groups(recipe: RecipeConfig, layers: Sequence[Layer | None]) -> Groups:
    """Groups the trained parameters by learning rate, weight decay and, for Muon, kind of step.

    Weight decay acts on the weights of convolutions and dense layers, not on biases and norms.
    """
    splits = OPTIMIZERS[recipe.optimizer].splits_hidden_weights
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for place, layer in enumerate(layers):
        share, is_hidden = lr_share(recipe, place, len(layers)), place < len(layers) - 1
        if layer is None:
            continue
        for parameter in layer.parameters:
            is_weight = layer.is_weight(parameter)
            decay = recipe.weight_decay if is_weight else 0.0
            orthogonal = splits and is_hidden and is_weight
            groups.setdefault((share, decay, orthogonal), []).append(parameter)
    return [
        {"params": parameters, "lr_share": share, "weight_decay": decay, "orthogonal": orthogonal}
        for (share, decay, orthogonal), parameters in groups.items()
    ]


def lr_share(recipe: RecipeConfig, place: int, count: int) -> float:
    """Returns the learning rate of layer `place` of `count` as a share of the last one's.

    Layer-wise decay as in Clark et al. (ELECTRA, 2020): each layer below has `layer_decay` times
    the rate of the one above it.
    """
    below = count - 1 - place
    if not below:
        return 1.0
    decay = 1.0 if recipe.layer_decay is None else recipe.layer_decay
    return float(recipe.backbone_lr_factor * decay**below)


def portable(state: dict[str, Any]) -> dict[str, Any]:
    """Moves the learning rates of an optimizer's state off the device; each step sets its own."""
    for group in state["param_groups"]:
        group["lr"] = float(group["lr"])
    return state
