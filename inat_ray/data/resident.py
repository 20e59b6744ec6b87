"""Images and features that stay on a GPU, from one training of a process to the next."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

RESIDENT_SHARE = 0.5
"""An array lives on the GPU if it takes less than this share of the memory that is free."""


class Key(NamedTuple):
    """All that an array depends on."""

    source: str
    """The path of a pack, or of features."""
    subset: str
    rows: bytes
    """The subset's indices into the source."""


_kept: dict[tuple[Key, torch.device], Tensor] = {}
"""The arrays of the newest source. A process trains one model after another on the same data; each
would copy it to the GPU again, a second for 2 GB."""


def resident(
    key: Key, make: Callable[[], NDArray[Any]], *, size: int, device: torch.device
) -> Tensor | None:
    """Returns what `make` makes, `size` bytes, on a GPU; None if the device is none or too small.

    It is made once. What another source or other rows of the subset had left is given up.
    """
    if (known := _kept.get((key, device))) is not None:
        return known
    if device.type != "cuda":
        return None
    for other, place in list(_kept):
        if other.source != key.source or other.subset == key.subset:
            del _kept[other, place]
    if size >= RESIDENT_SHARE * _room(device):
        return None
    _kept[key, device] = torch.from_numpy(make()).to(device)
    return _kept[key, device]


def _room(device: torch.device) -> float:
    """Returns the bytes that this process may still take, of those that are free."""
    free, total = torch.cuda.mem_get_info(device)
    share = torch.cuda.get_per_process_memory_fraction(device)
    return min(free, share * total - torch.cuda.memory_allocated(device))
