import pytest
import ray.exceptions
import torch
from ray import cloudpickle
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError, RayTaskError

from inat_ray.config.errors import RunFailedError
from inat_ray.data.pack import NoRoomError
from inat_ray.storage.place import StorageError
from inat_ray.tuning.trial_errors import is_disk_full, state_after_error


def raised(error: Exception) -> RayTaskError:
    """As Tune hands on what a trial's code raised: from its pickle, and of the error's type too."""
    return cloudpickle.loads(cloudpickle.dumps(task_error(error).as_instanceof_cause()))


def task_error(error: Exception) -> RayTaskError:
    line = f"{type(error).__name__}: {error}"
    text = f"ray::Trial.train() (pid=7957, ip=10.77.0.12)\n  File 'trial.py', line 52\n{line}\n"
    return RayTaskError("train", text, error)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        MemoryError("no"),
        ray.exceptions.OutOfMemoryError("Task was killed due to the node running low on memory."),
        RunFailedError("3 attempts at the epoch failed: OutOfMemoryError: CUDA out of memory"),
    ],
)
def test_a_want_of_memory_is_told_from_other_errors(error):
    state, reason = state_after_error(raised(error), may_go_on=True)
    assert state == "out_of_memory"
    assert reason.startswith(f"{type(error).__name__}: {str(error).rstrip('.')}; ")
    assert "recipe.batch_size" in reason
    assert "resources.gpus_per_worker" in reason


def test_an_error_of_code_is_the_trials_own():
    expected = ("failed", "ValueError: no room. There is none.")
    assert state_after_error(raised(ValueError("no room. There is none.")), may_go_on=True) == (
        expected
    )


@pytest.mark.parametrize("error", [ActorDiedError(), StorageError("away"), NoRoomError("full")])
def test_an_error_within_a_trial_that_is_its_nodes_lets_it_go_on(error):
    assert state_after_error(raised(error), may_go_on=True)[0] == "interrupted"


def died(kind: str = "SYSTEM_ERROR") -> ActorDiedError:
    """As Ray tells of an actor whose process has died."""
    text = f"The actor is dead because its worker process has died. Worker exit type: {kind} Worker"
    return ActorDiedError(ActorDiedErrorContext(actor_id=b"0" * 16, error_message=text))


def test_a_process_that_died_lets_the_trial_go_on_but_not_forever():
    reason = "The actor is dead because its worker process has died"
    assert state_after_error(died(), may_go_on=True) == ("interrupted", reason)
    assert state_after_error(died(), may_go_on=False) == ("failed", reason)


def test_what_ray_ends_for_want_of_memory_is_out_of_memory():
    assert state_after_error(died("NODE_OUT_OF_MEMORY"), may_go_on=True)[0] == "out_of_memory"


def test_an_error_of_code_as_the_process_begins_is_no_lost_process():
    error = ActorDiedError.from_task_error(task_error(ValueError("no room. There is none.")))
    expected = ("failed", "ValueError: no room. There is none.")
    assert state_after_error(error, may_go_on=True) == expected


def test_a_process_that_never_came_up_has_nothing_to_say():
    expected = ("interrupted", "the trial's process died")
    assert state_after_error(RuntimeError(""), may_go_on=True) == expected


def test_a_full_disk_is_no_fault_of_the_trial():
    error = raised(OSError(28, "No space left on device", "a.partial"))
    assert is_disk_full(error)
    assert state_after_error(error, may_go_on=True)[0] == "interrupted"
