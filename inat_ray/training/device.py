"""The device of a run, and what a process does once to be fast on it."""

import ctypes
import platform
from functools import cache

import torch

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment, RecipeConfig

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 1 << 30


def resolve_device(name: str) -> torch.device:
    """The device for `auto`, `cuda` or `cpu`. Raises UserError where there is no such GPU."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device: cuda: PyTorch sees no GPU here; allowed: cpu, or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def device_of(experiment: Experiment) -> torch.device:
    """The device of a training in this process.

    Raises UserError where the experiment wants a GPU and there is none.
    """
    gpus = experiment.resources.gpus_per_worker
    if gpus == 0:
        return torch.device("cpu")
    device = resolve_device(experiment.device)
    if gpus and device.type != "cuda":
        raise UserError(
            f"resources.gpus_per_worker: {gpus:g}: there is no GPU to train on here; 0 is allowed"
        )
    return device


def tune_process(device: torch.device) -> None:
    """Settings of the whole process that change speed and nothing else."""
    if device.type == "cpu" and platform.libc_ver()[0] == "glibc":
        _keep_freed_memory()
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")


def autocast(recipe: RecipeConfig, device: torch.device) -> torch.autocast:
    """The context in which the forward pass runs; does nothing in fp32."""
    wanted = recipe.precision == "bf16" or (
        recipe.precision == "auto" and device.type == "cuda" and _has_bf16()
    )
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted)


@cache
def _has_bf16() -> bool:
    """Asked once: every step would pay for it."""
    return bool(torch.cuda.is_bf16_supported())


def forget_peak_memory(device: torch.device) -> None:
    """From here on `peak_memory` counts anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int | None:
    """The most bytes of the GPU that this process's tensors took.

    None on a CPU: a process keeps what earlier trials have freed, so its size says nothing of one.
    """
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def _keep_freed_memory() -> None:
    """Lets glibc keep large blocks for the next step instead of giving them back.

    Every activation is such a block: without this each step pays for fresh zeroed pages. The
    5-block CNN at 64 px trained at 385 images/s with it, at 345 without (two AMD EPYC cores).
    """
    libc = ctypes.CDLL(None)
    for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
        libc.mallopt(option, KEPT_BYTES)
