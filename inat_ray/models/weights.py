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
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch
from filelock import FileLock
from pydantic import BaseModel, Field, FiniteFloat, Json
from safetensors import safe_open
from torch import Tensor, nn

from inat_ray.config.backbones import Color, Images, images_for, weight_tags
from inat_ray.config.errors import UserError, readable
from inat_ray.config.model import FreezableConfig, PretrainedConfig
from inat_ray.storage.place import Place, check_zip, is_address

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

REMEDY = "a state dict that torch.save or safetensors wrote is allowed, and nothing beside it"

AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")
"""Classifiers of Inception and GoogLeNet that only their first training had."""

SHOWN_NAMES = 3

SECONDS_TO_ANSWER = 5.0


@dataclass(frozen=True)
class Weights:
    """A state dict, and how images (in 0..1) are normalized for it."""

    state: dict[str, Tensor]
    mean: Color
    std: Color


def read_weights(config: FreezableConfig, *, progress: bool = False) -> Weights:
    """Returns the weights that `config` names, on the CPU; `none` has no weights to read.

    Raises UserError if they cannot be fetched, or the file holds no state dict.
    """
    tags: tuple[str, ...] = ()
    images = Images()
    if isinstance(config, PretrainedConfig):
        tags = weight_tags(config.source, config.backbone)
        images = images_for(config.source, config.backbone, config.weights)
        if config.weights == "default" or config.weights.lower() in tags:
            tag = tags[-1] if config.weights == "default" else config.weights.lower()
            return _published(config, tag, images, progress=progress)
    if is_address(config.weights):
        return _read_stored(config.weights, images)
    path = Path(config.weights).expanduser()
    if not path.is_file():
        allowed = (*(("default", *tags) if tags else ()), "none", "a path")
        raise UserError(
            f"model.weights: {config.weights}: there is no such file;"
            f" {', '.join(allowed)} or an address (s3://...) are allowed"
        )
    return _read(path, images)


def why_missing(config: PretrainedConfig) -> str | None:
    """Returns why the weights of a pre-trained network cannot be had; None if they can.

    It downloads nothing: what is not in a cache is asked for at its address.
    """
    if config.weights not in ("default", *weight_tags(config.source, config.backbone)):
        there = is_address(config.weights) or Path(config.weights).expanduser().is_file()
        return None if there else f"{config.weights} is not there"
    if config.source == "timm":
        from huggingface_hub import constants, try_to_load_from_cache

        tag = weight_tags("timm", config.backbone)[-1]
        name = f"timm/{config.backbone}.{tag}"
        kept = isinstance(try_to_load_from_cache(name, "model.safetensors"), str)
        return None if kept else _why_unreachable(constants.ENDPOINT)
    from torchvision.models import get_model_weights

    url = get_model_weights(config.backbone)["DEFAULT"].url
    return None if _place_of(url).exists() else _why_unreachable(url)


def _why_unreachable(url: str) -> str | None:
    try:
        urlopen(Request(url, method="HEAD"), timeout=SECONDS_TO_ANSWER).close()
    except OSError as error:  # URLError and time-outs are such
        return f"{urlsplit(url).hostname} cannot be reached ({getattr(error, 'reason', error)})"
    return None


def _place_of(url: str) -> Path:
    """Returns the file of torchvision's weights in torch's own cache."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def _published(config: PretrainedConfig, tag: str, images: Images, *, progress: bool) -> Weights:
    """Weights by the name that their source gives them."""
    if config.source == "timm":
        return Weights(_from_hub(f"{config.backbone}.{tag}"), images.mean, images.std)
    from torchvision.models import get_model_weights  # 3 s, for which no CNN is to wait

    entry = get_model_weights(config.backbone)[tag.upper()]
    return _read(fetch(entry, progress=progress), images)


@lru_cache(maxsize=1)
def _from_hub(name: str) -> dict[str, Tensor]:
    """The state dict of timm's network; once a process. timm keeps what it downloads.

    Raises UserError if it cannot be fetched.
    """
    import timm

    try:
        with FileLock(Path(tempfile.gettempdir()) / f"inat_ray-{name}.lock"):
            model: nn.Module = timm.create_model(name, pretrained=True)
    except (OSError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"model.weights: timm cannot fetch {name} ({reason}). Without a network: name the path"
            " of a state dict (.safetensors or .pth) in model.weights"
        ) from None
    return model.state_dict()


def fetch(entry: "WeightsEnum", *, progress: bool = False) -> Path:
    """The file of torchvision's weights in torch's own cache, where other programs find it too.

    Its name ends in the first digits of its SHA-256, which the file must have. Of several
    processes one downloads and the others wait.
    """
    path = _place_of(entry.url)
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
def _read_stored(address: str, images: Images) -> Weights:
    """From a bucket; once a process, for trial after trial begins with them."""
    place = Place.at(address)
    with readable(f"model.weights: {place}", remedy=REMEDY):
        content = place.read()
    with tempfile.TemporaryDirectory(prefix="inat_ray-weights-") as folder:
        path = Path(folder) / place.last_name
        path.write_bytes(content)
        return _read(path, images)


def _read(path: Path, images: Images) -> Weights:
    with readable(f"model.weights: {path}", remedy=REMEDY):
        if path.suffix == ".safetensors":
            return _read_safetensors(path, images)
        with path.open("rb") as file:
            state = _state_dict(load_without_code(file, torch.device("cpu")), path)
        return Weights(state, images.mean, images.std)


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


def _read_safetensors(path: Path, images: Images) -> Weights:
    """A file that this project saved knows its normalization; another gets its network's."""
    state, about = read_safetensors(path)
    if "mean" not in about or "std" not in about:
        return Weights(state, images.mean, images.std)
    found = Normalization.model_validate(about)
    return Weights(state, mean=found.mean, std=found.std)


def load_backbone(
    model: nn.Module, state: Mapping[str, Tensor], *, head: str | None, where: str
) -> None:
    """Copies all but the output layer from `state`.

    `head` names that layer; None: all is copied. Raises UserError that begins with `where` if names
    or shapes are not this network's.
    """
    wanted, given = _without(head, model.state_dict()), _without(head, state)
    # Files from before PyTorch 0.4.1 lack these counters, which nothing here uses.
    needed = [name for name in wanted if not name.endswith("num_batches_tracked")]
    both = [name for name in wanted if name in given]
    wrong = {
        "missing": [name for name in needed if name not in given],
        "unknown": [name for name in given if name not in wanted],
        "of another shape": [name for name in both if given[name].shape != wanted[name].shape],
    }
    if not any(wrong.values()):
        reasons = {name: unusable(given[name], wanted[name]) for name in given}
        for reason in sorted({*filter(None, reasons.values())}):
            wrong[reason] = [name for name in given if reasons[name] == reason]
    found = [f"{len(names)} {what} ({some_of(names)})" for what, names in wrong.items() if names]
    if found:
        raise UserError(f"{where}: are not the weights of this backbone: {'; '.join(found)}")
    model.load_state_dict(given, strict=False)


def _without(head: str | None, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict without the entries of the output layer and of auxiliary classifiers."""
    out = (*AUXILIARY, *([f"{head}."] if head else []))
    return {name: tensor for name, tensor in state.items() if not name.startswith(out)}


def some_of(names: list[str]) -> str:
    """Returns the first of the names of parameters."""
    return ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")


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
