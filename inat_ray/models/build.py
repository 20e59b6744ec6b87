"""From a model's settings to the network."""

import torch
from torch import nn

from inat_ray.config.experiment import Experiment
from inat_ray.config.model import CnnConfig, ModelConfig, ResnetConfig
from inat_ray.models.cnn import build_cnn
from inat_ray.models.resnet import build_resnet, check_backbone
from inat_ray.models.weights import Weights, read_weights


def build_model(experiment: Experiment, *, classes: int, weights: Weights | None) -> nn.Module:
    """The experiment's model on the CPU; what is not in `weights` follows from its seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        return _build(
            experiment.model,
            classes=classes,
            image_size=experiment.data.image_size,
            weights=weights,
        )


def hollow_model(experiment: Experiment, *, classes: int) -> nn.Module:
    """The same network on the meta device: shapes, and no numbers."""
    with torch.device("meta"):
        return _build(
            experiment.model,
            classes=classes,
            image_size=experiment.data.image_size,
            weights=None,
        )


def pretrained_weights(model: ModelConfig, *, progress: bool = False) -> Weights | None:
    """The weights that a model begins with; None where it is trained from scratch.

    Raises UserError where they cannot be had, or are another network's.
    """
    if isinstance(model, ResnetConfig) and model.pretrained:
        return read_weights(model, progress=progress)
    return None


def check_weights(experiment: Experiment) -> None:
    """Fetches the weights that the experiment begins with, and tries them on its network.

    Raises UserError as `pretrained_weights`: to be called before anything long starts.
    """
    weights = pretrained_weights(experiment.model, progress=True)
    if weights is not None:
        model = hollow_model(experiment, classes=1)
        assert isinstance(experiment.model, ResnetConfig)
        where = f"model.weights: {experiment.model.weights}"
        check_backbone(model, weights.state, where=where)


def _build(
    model: ModelConfig, *, classes: int, image_size: int, weights: Weights | None
) -> nn.Module:
    if isinstance(model, CnnConfig):
        return build_cnn(model, classes=classes, image_size=image_size)
    network: nn.Module = build_resnet(model, classes=classes, weights=weights)
    return network
