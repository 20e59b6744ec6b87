"""The machine of a run: a time or a speed means nothing without it."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

PROCESSORS = Path("/proc/cpuinfo")
"""On Linux; elsewhere Python's own name of the processor has to do."""

CGROUP = Path("/sys/fs/cgroup/memory.max")


def machine() -> dict[str, Any]:
    """Returns the processor, the cores that this process may use, and the names of its GPUs."""
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    found = {"processor": processor(), "cores": usable_cores(), "system": platform.system()}
    return found | ({"gpus": names} if names else {})


def processor(listing: Path = PROCESSORS) -> str:
    """Returns the processor's name as its maker writes it, if the system tells."""
    if listing.exists():
        for line in listing.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def stand_back(niceness: int) -> None:
    """Raises the niceness of this process; to lower one takes the rights of root."""
    os.nice(max(0, niceness - os.nice(0)))


def usable_cores() -> int:
    """Counts the cores of this process; a scheduler or a container may give it fewer than all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes(limit: Path = CGROUP) -> int:
    """Returns the bytes of memory of this machine, or of the container that holds the process."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limited = limit.read_text(encoding="ascii").strip() if limit.exists() else ""
    return min(there, int(limited)) if limited.isdigit() else there
