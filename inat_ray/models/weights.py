"""Pre-trained weights: fetched once per machine, verified, and read without running any code."""

import hashlib
import json
import pickle
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from torch import Tensor

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import ResnetConfig
from inat_ray.storage.place import Place, StorageError, is_address

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

Color = tuple[float, float, float]
"""A value for red, green and blue each."""

IMAGENET_MEAN: Color = (0.485, 0.456, 0.406)
IMAGENET_STD: Color = (0.229, 0.224, 0.225)
"""What torchvision's weights were trained with, and what a state dict of unknown origin gets."""

CLASS_OF_WEIGHTS = {
    "resnet18": "ResNet18_Weights",
    "resnet34": "ResNet34_Weights",
    "resnet50": "ResNet50_Weights",
    "resnet101": "ResNet101_Weights",
    "resnet152": "ResNet152_Weights",
}


@dataclass(frozen=True)
class Weights:
    """A state dict, and how images are normalised for it (in 0..1)."""

    state: dict[str, Tensor]
    mean: Color = IMAGENET_MEAN
    std: Color = IMAGENET_STD


def read_weights(config: ResnetConfig, *, progress: bool = False) -> Weights:
    """The weights that `config` names, on the CPU; `none` has no weights to read.

    Raises UserError where they cannot be fetched or the file holds no state dict.
    """
    if config.weights in ("imagenet1k_v1", "imagenet1k_v2"):
        from torchvision.models import get_weight  # 3 s, which no CNN is to wait for

        entry = get_weight(f"{CLASS_OF_WEIGHTS[config.backbone]}.{config.weights.upper()}")
        return _read(fetch(entry, progress=progress))
    if is_address(config.weights):
        return _read_stored(config.weights)
    path = Path(config.weights).expanduser()
    if not path.is_file():
        raise UserError(
            f"model.weights: {config.weights}: there is no such file;"
            " imagenet1k_v2, imagenet1k_v1, none, a path or an address (s3://...) are allowed"
        )
    return _read(path)


def fetch(entry: "WeightsEnum", *, progress: bool = False) -> Path:
    """The file of torchvision's weights in torch's own cache, where other programs find it too.

    Its name ends in the first digits of its SHA-256, which the file must have. Of several
    processes one downloads and the others wait.
    """
    name: str = entry.url.rpartition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    digits = path.stem.rpartition("-")[2]
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                _download(entry.url, path, digits=digits, progress=progress)
    _check_digits(path, digits, path.stat().st_size)
    return path


def _download(url: str, path: Path, *, digits: str, progress: bool) -> None:
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digits, progress=progress)
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"model.weights: {path.name} cannot be fetched ({error}). Without a network: bring"
            f" {url} to {path}, or name a state dict's path in model.weights"
        ) from None


@lru_cache(maxsize=8)
def _check_digits(path: Path, digits: str, _size: int) -> None:
    """Once a process: reading 100 MB takes a few tenths of a second."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(digits):
        raise UserError(
            f"model.weights: {path}: is damaged: its SHA-256 begins with {found[: len(digits)]}"
            f" instead of {digits}; remove it, and it will be fetched again"
        )


@lru_cache(maxsize=1)
def _read_stored(address: str) -> Weights:
    """From a bucket; once a process, for trial after trial begins with them."""
    place = Place.at(address)
    try:
        content = place.read()
    except (OSError, StorageError) as error:
        raise UserError(f"model.weights: {place}: cannot be read: {error}") from None
    with tempfile.TemporaryDirectory(prefix="inat_ray-weights-") as folder:
        path = Path(folder) / place.last_name
        path.write_bytes(content)
        return _read(path)


def _read(path: Path) -> Weights:
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        # weights_only: a pickle may hold code, and this way none of it runs.
        read = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"model.weights: {path}: holds other things than weights, or is damaged; a state dict"
            f" is allowed ({_first_line(error)})"
        ) from None
    except Exception as error:  # whatever a reader of old formats meets in bytes that are none
        raise UserError(
            f"model.weights: {path}: cannot be read, perhaps it is cut off ({_first_line(error)})"
        ) from None
    return Weights(_state_dict(read, path))


def _read_safetensors(path: Path) -> Weights:
    """A file that this project saved knows its normalisation; another gets ImageNet's."""
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"model.weights: {path}: is no safetensors file that can be read ({error})"
        ) from None
    if "mean" not in about or "std" not in about:
        return Weights(state)
    return Weights(state, mean=_color(about["mean"]), std=_color(about["std"]))


def _color(text: str) -> Color:
    red, green, blue = json.loads(text)
    return red, green, blue


def _state_dict(read: Any, path: Path) -> dict[str, Tensor]:
    """The state dict itself, from the wrappings in which training scripts save it."""
    for name in ("state_dict", "model"):
        if isinstance(read, Mapping) and isinstance(read.get(name), Mapping):
            read = read[name]
    if not isinstance(read, Mapping) or not all(isinstance(v, Tensor) for v in read.values()):
        raise UserError(f"model.weights: {path}: holds no state dict, names and tensors alone")
    return {str(name).removeprefix("module."): tensor for name, tensor in read.items()}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
