"""Which part of a network is its head: the output layer, and what belongs to it alone."""

from typing import Any

from torch import Tensor, nn

from inat_ray.config.model import CnnConfig, ModelConfig, PretrainedConfig
from inat_ray.models.module import explained
from inat_ray.models.pretrained import Output, output_name


def head_name(model: nn.Module, config: ModelConfig) -> str | None:
    """Returns the name of a network's head; None if a network of one's own says nothing of one.

    It does by an attribute `head` that is a module, or by `get_classifier()` that returns one.
    """
    if isinstance(config, CnnConfig):
        return str(len(list(model.children())) - 1)
    if isinstance(config, PretrainedConfig):
        found = [name for name, module in model.named_modules() if isinstance(module, Output)]
        return found[0] if found else output_name(model, config)
    with explained("model: get_classifier()"):
        own: Any = getattr(model, "get_classifier", lambda: getattr(model, "head", None))()
    return next((name for name, module in model.named_modules() if name and module is own), None)


def head_inputs(model: nn.Module, head: str, images: Tensor) -> Tensor:
    """Runs images (n, 3, s, s), and returns what the head sees: (n, ...)."""
    seen: list[Tensor] = []
    hook = model.get_submodule(head).register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0])
    )
    try:
        model(images)
    finally:
        hook.remove()
    return seen[0]
