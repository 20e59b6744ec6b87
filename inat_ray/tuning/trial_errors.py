"""Decides what becomes of a trial whose process is lost or whose code fails.

Where a lost process is replaced:
- a trial's own: `ray_tune.Desk.fail` hears of it, here it is decided that the trial continues,
  `search.agenda` gives it out again from its last epoch, and Ray Tune starts a process for it;
- one of several workers of a training: Ray Train starts the group again, see
  `training.worker_group`;
- the winner's: `tuning.final_training` starts another.
"""

from ray.exceptions import RayActorError, RayTaskError

from inat_ray.log.records import TrialState
from inat_ray.training.device import is_out_of_memory, with_remedy

LOST = (
    "ActorDiedError",
    "ActorUnavailableError",
    "NodeDiedError",
    "WorkerCrashedError",
    "StorageError",  # ours: the place of the checkpoints does not answer
    "NoRoomError",  # the node has no room for the pack, and will get no further trial
)
"""Raised within a trial that has several processes, or whose node is at fault. They are names
because the error of a worker in a group arrives as text."""

DISK_FULL = (
    "the disk is full; what was recorded is safe, and the run can be resumed once there is room"
)


def state_after_error(error: Exception, *, may_go_on: bool) -> tuple[TrialState, str]:
    """Returns the state of a trial that ended with `error`, and the reason in a sentence.

    A process that died says nothing about the configuration, nor does a full disk: the trial
    continues (`interrupted`) from its last epoch, unless that has been tried often enough.
    """
    reason = _reason(error)
    if is_out_of_memory(_said(error)):
        return "out_of_memory", with_remedy(reason)
    is_lost = not _was_raised(error) or any(sign in _said(error) for sign in LOST)
    if is_disk_full(error) or is_lost:
        return ("interrupted" if may_go_on else "failed"), reason
    return "failed", reason


def is_disk_full(error: Exception) -> bool:
    return "No space left on device" in _said(error)


def _was_raised(error: Exception) -> bool:
    """Returns whether code raised it, in the trial or as its process began.

    Otherwise Ray itself reports that a process died.
    """
    if isinstance(error, RayActorError):
        return error.actor_init_failed
    return isinstance(error, RayTaskError)


def _said(error: Exception) -> str:
    """Returns what code raised, without Ray's traceback of it; or what Ray says."""
    if isinstance(error, RayTaskError):
        return f"{type(error.cause).__name__}: {error.cause}"
    return str(error)


def _reason(error: Exception) -> str:
    """Returns the error's last line; of Ray's own errors, the first sentence of it."""
    lines = str(error).strip().splitlines() or ["the trial's process died"]
    last = lines[-1].strip()
    return last if _was_raised(error) else last.partition(". ")[0]
