"""What the error of a trial means: for its configuration, for the trial, for the run."""

import re

from inat_ray.log.records import TrialState

OUT_OF_MEMORY = (
    "OutOfMemoryError",  # of torch on GPUs, and of Ray, which ends processes before the system does
    "NODE_OUT_OF_MEMORY",  # the same of Ray, where it names no error
    "MemoryError",
    "not enough memory: you tried to allocate",  # of torch on CPUs
    "can't allocate memory",
)
TRACEBACK = re.compile(r"^Traceback \(|^(\x1b\[\d+m)?ray::.*\(pid=", re.MULTILINE)
"""In the text of every error that code raised: Python's head of a traceback, or what Ray has in its
place. What Ray itself says of a process that died has neither."""

LOST = (
    "ActorDiedError",
    "ActorUnavailableError",
    "NodeDiedError",
    "WorkerCrashedError",
    "StorageError",  # of ours: the place of the checkpoints does not answer
    "NoRoomError",  # the node has no room for the pack, and will get no further trial
)
"""Raised within a trial, whose processes are several, or whose node is at fault."""
DISK_FULL = (
    "the disk is full; what was recorded is safe, and the run can be resumed once there is room"
)


def state_after_error(text: str, *, may_go_on: bool) -> tuple[TrialState, str]:
    """The state of a trial that ended with the traceback `text`, and the reason in a sentence.

    A process that died says nothing of the configuration: the trial goes on (`interrupted`) from
    its last epoch, unless that has been tried often enough. Nor does a disk that is full.
    """
    reason = _reason(text)
    if _is_any(OUT_OF_MEMORY, text):
        return "out_of_memory", reason
    if is_disk_full(text) or not TRACEBACK.search(text) or _is_any(LOST, text):
        return ("interrupted" if may_go_on else "failed"), reason
    return "failed", reason


def is_disk_full(text: str) -> bool:
    return "No space left on device" in text


def _is_any(signs: tuple[str, ...], text: str) -> bool:
    return any(sign in text for sign in signs)


def _reason(text: str) -> str:
    """The error's own sentence; of Ray's, the first of many."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return "the trial's process died"
    last = lines[-1].strip()
    return last if TRACEBACK.search(text) else last.partition(". ")[0]
