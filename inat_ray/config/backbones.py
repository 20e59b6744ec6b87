"""What torchvision and timm say of their networks: names, weights, and the images these want."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Literal

Source = Literal["torchvision", "timm"]

Color = tuple[float, float, float]
"""A value for red, green and blue each."""

IMAGENET_MEAN: Color = (0.485, 0.456, 0.406)
IMAGENET_STD: Color = (0.229, 0.224, 0.225)
"""What most ImageNet weights were trained with."""


@dataclass(frozen=True)
class Images:
    """The images that a network's weights were trained for."""

    size: int = 224
    """Side, in pixels."""
    mean: Color = IMAGENET_MEAN
    std: Color = IMAGENET_STD


_RESNETS = {
    "resnet18": ("imagenet1k_v1",),
    "resnet34": ("imagenet1k_v1",),
    "resnet50": ("imagenet1k_v1", "imagenet1k_v2"),
    "resnet101": ("imagenet1k_v1", "imagenet1k_v2"),
    "resnet152": ("imagenet1k_v1", "imagenet1k_v2"),
}
"""The weights of torchvision's ResNets, known here so that nobody waits for torchvision."""


def weight_tags(source: Source, backbone: str) -> tuple[str, ...]:
    """Returns the names of a backbone's weights, the default last.

    Raises ValueError if the source has no such backbone, or is not installed.
    """
    if source == "torchvision":
        return _RESNETS.get(backbone) or _torchvision_tags(backbone)
    return _timm_tags(backbone)


def torchvision_names() -> Iterator[str]:
    """Yields the names of torchvision's classifiers, beginning with its ResNets."""
    yield from _RESNETS
    yield from _torchvision_names()


def images_for(source: Source, backbone: str, weights: str) -> Images:
    """Returns the images that a backbone's weights want; a file is taken for its default weights.

    Raises ValueError as `weight_tags`.
    """
    tags = weight_tags(source, backbone)
    tag = weights.lower() if weights.lower() in tags else tags[-1] if tags else ""
    if source == "timm":
        return _timm_images(backbone, tag)
    return Images() if backbone in _RESNETS else _torchvision_images(backbone, tag)


def patch_side(source: Source, backbone: str) -> int:
    """Returns the side of the patches of which a network's images must consist, in pixels.

    1 if images may have any size: timm's ViTs leave out what is over.
    """
    found = re.fullmatch(r"vit_[a-z]_(\d+)", backbone) if source == "torchvision" else None
    return int(found[1]) if found else 1


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns a question with the names that are closest to a misspelled one; empty without any."""
    known = list(names)
    close = [each for each in known if each.startswith(name)][:3] or get_close_matches(name, known)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def _torchvision_names() -> list[str]:
    from torchvision import models  # 3 s

    names: list[str] = models.list_models(module=models)
    return names


@lru_cache
def _torchvision_tags(backbone: str) -> tuple[str, ...]:
    from torchvision import models

    names = _torchvision_names()
    if backbone not in names:
        raise ValueError(
            f"torchvision has no classifier {backbone}{nearest(backbone, names)};"
            f" it has {', '.join(names)}"
        )
    found = models.get_model_weights(backbone)
    tags = [entry.name.lower() for entry in found]
    default: Any = found["DEFAULT"]
    return (*(tag for tag in tags if tag != default.name.lower()), default.name.lower())


@lru_cache
def _torchvision_images(backbone: str, tag: str) -> Images:
    from torchvision.models import get_model_weights

    entry: Any = get_model_weights(backbone)[tag.upper()]
    transforms = entry.transforms()
    return Images(transforms.crop_size[0], tuple(transforms.mean), tuple(transforms.std))


@lru_cache
def _timm_tags(backbone: str) -> tuple[str, ...]:
    try:
        import timm
    except ImportError:
        missing = "source timm: is not installed here; pip install 'inat_ray[timm]' installs it"
        raise ValueError(missing) from None
    if backbone not in (names := timm.list_models()):
        raise ValueError(f"timm {timm.__version__} has no {backbone}{nearest(backbone, names)}")
    found = timm.list_pretrained(f"{backbone}.*")
    default = timm.get_pretrained_cfg(backbone)
    tags = [name.partition(".")[2] for name in found]
    first = default.tag if default is not None else ""
    return (*(tag for tag in tags if tag != first), *([first] if first in tags else []))


@lru_cache
def _timm_images(backbone: str, tag: str) -> Images:
    import timm

    found: Any = timm.get_pretrained_cfg(f"{backbone}.{tag}" if tag else backbone)
    if found is None:
        return Images()
    return Images(found.input_size[-1], tuple(found.mean), tuple(found.std))
