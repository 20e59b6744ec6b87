"""The device of a training, and the settings that make a process fast on it."""

import ctypes
import platform
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment, RecipeConfig

T = TypeVar("T")

OUT_OF_MEMORY = (
    "OutOfMemoryError",  # of torch on GPUs, and of Ray, which ends processes before the system does
    "NODE_OUT_OF_MEMORY",  # Ray again, in what it says of a dead process
    "CUDA error: out of memory",  # of CUDA itself, past torch's own allocator
    "CUDA driver error: out of memory",
    "failure 'out of memory'",  # of NCCL
    "MPS backend out of memory",
    "_STATUS_ALLOC_FAILED",  # of cuBLAS, cuSOLVER, cuSPARSE, and of cuDNN before 9
    "ALLOCATION_FAILED",  # of cuDNN
    "MemoryError",
    "not enough memory: you tried to allocate",  # of torch on CPUs, a mere RuntimeError
    "can't allocate memory",
)

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 1 << 30


def resolve_device(name: str) -> torch.device:
    """Returns the device of a name in experiments. Raises UserError if there is no such GPU."""
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, is_there in there.items() if is_there)
    if not there[name]:
        raise UserError(f"device: {name}: PyTorch sees no such GPU here; allowed: cpu, or auto")
    return torch.device(name)


def device_of(experiment: Experiment) -> torch.device:
    """Returns the device of a training in this process.

    Raises UserError if the experiment wants a GPU and there is none.
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
    """Applies settings of the whole process that change nothing but speed."""
    if device.type == "cpu" and platform.libc_ver()[0] == "glibc":
        _keep_freed_memory()
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")


def is_out_of_memory(said: str) -> bool:
    """Returns whether an error, as its type and its text, tells of a want of memory.

    Most are mere RuntimeErrors.
    """
    return any(sign in said for sign in OUT_OF_MEMORY)


def with_remedy(reason: str) -> str:
    """Returns why a training had too little memory, and what to do about it."""
    return (
        f"{reason.rstrip('.')}; a smaller recipe.batch_size or data.image_size needs less memory,"
        " and on a GPU a larger resources.gpus_per_worker gives a trial more of it"
    )


def limit_memory(device: torch.device, *, share: float) -> None:
    """Limits this process to its share of a GPU's memory: another's training must not fail.

    What the process takes before its first tensor, some 500 MB for CUDA itself, comes on top.
    """
    if device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(min(share, 1.0))


def autocast(recipe: RecipeConfig, device: torch.device) -> torch.autocast:
    """Returns the context in which the forward pass runs; it does nothing in fp32."""
    wanted = recipe.precision == "bf16" or (
        recipe.precision == "auto" and device.type == "cuda" and _has_bf16()
    )
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted)


@cache
def _has_bf16() -> bool:
    """Asks once: every step would pay for it."""
    return bool(torch.cuda.is_bf16_supported())


def synchronize(device: torch.device) -> None:
    """Waits until a GPU has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    if device.type == "mps":
        torch.mps.synchronize()


def free_cache(device: torch.device) -> None:
    """Gives back the memory of a GPU that no tensor needs any more."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if device.type == "mps":
        torch.mps.empty_cache()


def on_host(state: Any) -> Any:
    """Copies the tensors of a nested state to the host's memory.

    What is copied from a GPU is there once that has come to it: `in_background` waits for it. It
    goes into pinned memory, which PyTorch keeps and gives out again.
    """
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True, non_blocking=state.is_cuda)
    if isinstance(state, dict):
        return {key: on_host(value) for key, value in state.items()}
    return [on_host(each) for each in state] if isinstance(state, list) else state


def in_background(work: Callable[[], T], device: torch.device) -> Future[T]:
    """Does `work` on a thread, once the device has done what it was asked for until now.

    The process does not wait for the thread when it ends.
    """
    asked = torch.cuda.current_stream(device).record_event() if device.type == "cuda" else None
    future: Future[T] = Future()

    def run() -> None:
        try:
            if asked is not None:
                asked.synchronize()
            future.set_result(work())
        except BaseException as error:  # raised to whoever asks for the result
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def forget_peak_memory(device: torch.device) -> None:
    """Makes `peak_memory` count from zero again."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int | None:
    """Returns the most bytes that this process's tensors took on the GPU.

    None on a CPU: a process keeps what earlier trials freed, so its size says nothing of one trial.
    """
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def _keep_freed_memory() -> None:
    """Lets glibc keep large blocks for the next step instead of returning them to the system.

    Every activation is such a block: without this each step pays for fresh zeroed pages. The
    5-block CNN at 64 px trained at 385 images/s with it, at 345 without (two AMD EPYC cores).
    """
    libc = ctypes.CDLL(None)
    for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
        libc.mallopt(option, KEPT_BYTES)
