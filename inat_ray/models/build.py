"""From a model's settings to the network."""

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.model import (
    CnnConfig,
    FreezableConfig,
    ModelConfig,
    ModuleConfig,
    PretrainedConfig,
    wanted_size,
)
from inat_ray.config.space import SearchSpace, is_within
from inat_ray.config.trial import experiment_at
from inat_ray.config.variants import OF_THE_SIZE, variants
from inat_ray.models.cnn import build_cnn
from inat_ray.models.freeze import freezing_of
from inat_ray.models.head import head_name
from inat_ray.models.module import build_module, explained
from inat_ray.models.pretrained import build_pretrained, for_size
from inat_ray.models.trace import Structure, trace
from inat_ray.models.weights import Weights, load_backbone, read_weights, some_of

OF_THE_NETWORK = ("model.target", "model.args", "model.freeze")
"""What can fail for a model, beside what decides the size of its images."""


def build_model(experiment: Experiment, *, classes: int, weights: Weights | None) -> nn.Module:
    """Returns the experiment's model on the CPU; what is not in `weights` follows from its seed.

    Raises UserError if the weights are another network's, or a network of one's own raises.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        model = _build(experiment, classes=classes)
    if weights is not None:
        _begin_with(weights, model, experiment)
    return model


def _begin_with(weights: Weights, model: nn.Module, experiment: Experiment) -> None:
    settings, image_size = experiment.model, experiment.image_size
    assert isinstance(settings, FreezableConfig)
    state, where = weights.state, f"model.weights: {settings.weights}"
    if isinstance(settings, PretrainedConfig):
        state = for_size(model, settings, state, image_size=image_size)
        if image_size != wanted_size(settings.model_dump()):
            where += f", for images of {image_size} pixels"
    load_backbone(model, state, head=head_name(model, settings), where=where)


def hollow_model(experiment: Experiment, *, classes: int) -> nn.Module:
    """Returns the same network on the meta device: shapes, and no numbers.

    One of one's own has numbers: it may compute with them, and hold some that it does not save.
    """
    if isinstance(experiment.model, ModuleConfig):
        return build_model(experiment, classes=classes, weights=None)
    try:
        with torch.device("meta"):
            return _build(experiment, classes=classes)
    except UserError:  # it computes with numbers while it is built, as RegNets do
        return _build(experiment, classes=classes).to("meta")


def structure_of(
    model: nn.Module,
    experiment: Experiment,
    *,
    classes: int,
    size: int | None = None,
    count_macs: bool = False,
) -> Structure:
    """Returns the layers of an experiment's model, which may be on the meta device.

    `size`: the side of the images to run it on, if not the experiment's. Raises UserError if it
    does not run on them, or returns no logits.
    """
    size = size or experiment.image_size
    images = torch.zeros(1, 3, size, size, device=next(model.parameters()).device)
    name = f"model: {network_name(experiment.model)}"
    with explained(f"{name}: does not run on images of {size} x {size} pixels"):
        structure = trace(model, images, count_macs=count_macs)
    _check_logits(structure.output_shape, images=1, classes=classes, name=name)
    return structure


def _check_logits(shape: Sequence[int], *, images: int, classes: int, name: str) -> None:
    if tuple(shape) != (images, classes):
        raise UserError(
            f"{name}: returns {tuple(shape) or 'no tensor'} for images ({images}, 3, s, s) and"
            f" {classes} classes; logits ({images}, {classes}) are needed"
        )


def network_name(model: ModelConfig) -> str:
    """Returns which network it is, in a word."""
    if isinstance(model, PretrainedConfig):
        return model.backbone
    return model.target if isinstance(model, ModuleConfig) else model.kind


def pretrained_weights(model: ModelConfig, *, progress: bool = False) -> Weights | None:
    """Returns the weights that a model begins with; None if it is trained from scratch.

    Raises UserError if they cannot be had, or are another network's.
    """
    if isinstance(model, FreezableConfig) and model.pretrained:
        return read_weights(model, progress=progress)
    return None


def check_model(experiment: Experiment, *, frozen: Iterable[ModelConfig] = ()) -> list[str]:
    """Builds the model, runs it on an image, and fetches its weights.

    `frozen`: the same model, frozen in other ways. Returns what its author may want to know. Raises
    UserError for all that would fail in a trial: to be called before anything long starts.
    """
    if isinstance(experiment.model, CnnConfig):
        return []
    model = build_model(experiment, classes=2, weights=None)
    structure = structure_of(model, experiment, classes=2)
    for side in sorted(experiment.sides - {experiment.image_size}):
        structure_of(model, experiment, classes=2, size=side)
    for config in (experiment.model, *frozen):
        freezing_of(model, config, structure)
    if weights := pretrained_weights(experiment.model, progress=True):
        _begin_with(weights, model, experiment)
    return _check_training(model, experiment) if isinstance(experiment.model, ModuleConfig) else []


def check_models(experiment: Experiment, space: SearchSpace) -> list[str]:
    """Checks every model that a search can train, on images of every size, like `check_model`."""
    networks: dict[str, list[Experiment]] = {}
    decisive = {name for name in space.parameters if is_within(name, OF_THE_NETWORK)}
    for point in variants(space, decisive | {*OF_THE_SIZE}):
        if tried := experiment_at(experiment, point):
            what = tried.model.model_dump_json(exclude={"freeze"})
            networks.setdefault(f"{what} {tried.image_size}", []).append(tried)
    notes: dict[str, None] = {}
    # Sorted, so that weights are read once for all sizes of images.
    for _, alike in sorted(networks.items()):
        try:
            found = check_model(alike[0], frozen=[each.model for each in alike[1:]])
            notes |= dict.fromkeys(found)
        except UserError as error:
            if len(networks) == 1:
                raise
            model, size = alike[0].model, alike[0].image_size
            args = getattr(model, "args", {}).items()
            name = ", ".join([network_name(model), *(f"{key} {value}" for key, value in args)])
            raise UserError(f"{name}, images of {size} pixels: {error}") from None
    return [*notes]


def _check_training(model: nn.Module, experiment: Experiment) -> list[str]:
    """Raises UserError if a network of one's own cannot take a step as training does.

    Returns a sentence about parameters that the step leaves out.
    """
    size, recipe = experiment.image_size, experiment.recipe
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    name = f"model: {network_name(experiment.model)}"
    with explained(f"{name}: does not train"):
        logits = model.train().to(memory_format=layout)(
            torch.zeros(3, 3, size, size).to(memory_format=layout)
        )
        shape = logits.shape if isinstance(logits, torch.Tensor) else ()
        _check_logits(shape, images=3, classes=2, name=f"{name}: in training mode")
        logits.sum().backward()
    idle = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    if not idle:
        return []
    return [f"{name}: {some_of(idle)}: have no part in its logits, so they do not train"]


def _build(experiment: Experiment, *, classes: int) -> nn.Module:
    model, size = experiment.model, experiment.image_size
    if isinstance(model, CnnConfig):
        return build_cnn(model, classes=classes, image_size=size)
    if isinstance(model, ModuleConfig):
        return build_module(model, classes=classes, image_size=size)
    with explained(f"model: {model.backbone}: cannot be built for images of {size} pixels"):
        return build_pretrained(model, classes=classes, image_size=size)
