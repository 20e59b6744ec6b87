"""Pre-trained weights: fetched once per machine, verified, and read without running any code."""

import hashlib
import pickle
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO
from urllib.error import URLError

import torch
from filelock import FileLock
from pydantic import BaseModel, Field, FiniteFloat, Json
from safetensors import safe_open
from torch import Tensor

from inat_ray.config.errors import UserError, readable
from inat_ray.config.model import ResnetConfig
from inat_ray.storage.place import Place, check_zip, is_address

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

Color = tuple[float, float, float]
"""A value for red, green and blue each."""

IMAGENET_MEAN: Color = (0.485, 0.456, 0.406)
IMAGENET_STD: Color = (0.229, 0.224, 0.225)
"""What torchvision's weights were trained with, and what a state dict of unknown origin gets."""

REMEDY = "a state dict that torch.save or safetensors wrote is allowed, and nothing beside it"

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
    with readable(f"model.weights: {place}", remedy=REMEDY):
        content = place.read()
    with tempfile.TemporaryDirectory(prefix="inat_ray-weights-") as folder:
        path = Path(folder) / place.last_name
        path.write_bytes(content)
        return _read(path)


def _read(path: Path) -> Weights:
    with readable(f"model.weights: {path}", remedy=REMEDY):
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        with path.open("rb") as file:
            return Weights(_state_dict(load_without_code(file, torch.device("cpu")), path))


def load_without_code(file: BinaryIO, device: torch.device) -> Any:
    """What torch.save wrote. Raises whatever a reader of old formats meets in damaged bytes."""
    if zipfile.is_zipfile(file):  # torch itself does not look at the checksums that it writes
        check_zip(file)
    file.seek(0)
    try:
        # weights_only: a pickle may hold code, and this way none of it runs.
        return torch.load(file, map_location=device, weights_only=True)
    except pickle.UnpicklingError:  # whose text says how the code could be run all the same
        raise ValueError("it holds other things than numbers, or is damaged") from None


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a file. Raises whatever the library does."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


Deviation = Annotated[float, Field(gt=1e-6, allow_inf_nan=False)]


class Normalization(BaseModel):
    """How images are normalised, as a model's file says it."""

    mean: Json[tuple[FiniteFloat, FiniteFloat, FiniteFloat]]
    std: Json[tuple[Deviation, Deviation, Deviation]]


def _read_safetensors(path: Path) -> Weights:
    """A file that this project saved knows its normalisation; another gets ImageNet's."""
    state, about = read_safetensors(path)
    if "mean" not in about or "std" not in about:
        return Weights(state)
    found = Normalization.model_validate(about)
    return Weights(state, mean=found.mean, std=found.std)


def unusable(given: Tensor, wanted: Tensor) -> str | None:
    """Why a tensor, whose shape fits, cannot be the weights `wanted`; None where it can."""
    dense = given.layout is torch.strided and not (given.is_meta or given.is_quantized)
    if not dense or given.dtype in (torch.bool, torch.complex64, torch.complex128):
        return "no dense tensor of real numbers"
    if given.is_floating_point() != wanted.is_floating_point():
        return f"of type {given.dtype} instead of {wanted.dtype}"
    return None if given.float().isfinite().all() else "not finite (NaN or infinite)"


def _state_dict(read: Any, path: Path) -> dict[str, Tensor]:
    """The state dict itself, from the wrappings in which training scripts save it."""
    for name in ("state_dict", "model"):
        if isinstance(read, Mapping) and isinstance(read.get(name), Mapping):
            read = read[name]
    if not isinstance(read, Mapping) or not all(isinstance(v, Tensor) for v in read.values()):
        raise UserError(f"model.weights: {path}: holds no state dict, names and tensors alone")
    return {str(name).removeprefix("module."): tensor for name, tensor in read.items()}
