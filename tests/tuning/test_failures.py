import pytest

from inat_ray.tuning.failures import is_disk_full, state_after_error


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't"
        " allocate memory: you tried to allocate 99 bytes.",
        "MemoryError",
    ],
)
def test_a_want_of_memory_is_told_from_other_errors(line):
    text = f"Traceback (most recent call last):\n  File x\n{line}\n"
    assert state_after_error(text, may_go_on=True) == ("out_of_memory", line)


RAISED = """Failure # 1 (occurred at 2026-11-24_00-08-41)
\x1b[36mray::ResourceTrainable.train()\x1b[39m (pid=7957, ip=10.77.0.12, actor_id=0c8f4c93)
  File "trial.py", line 52, in step
    self.newest = done = self.engine.epoch(
ValueError: no room. There is none.
"""


def test_an_error_of_code_is_the_trials_own_as_ray_tells_it():
    expected = ("failed", "ValueError: no room. There is none.")
    assert state_after_error(RAISED, may_go_on=True) == expected


DIED = "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task."


def test_a_process_that_died_lets_the_trial_go_on_but_not_forever():
    assert state_after_error(DIED, may_go_on=True) == ("interrupted", DIED)
    assert state_after_error(DIED, may_go_on=False) == ("failed", DIED)


OF_A_CLUSTER = """Failure # 1 (occurred at 2026-11-23_14-12-29)
The actor died unexpectedly before finishing this task.
\tip: 10.77.0.12
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit
"""


def test_what_ray_says_of_a_dead_process_is_known_without_the_errors_name():
    state, reason = state_after_error(OF_A_CLUSTER.replace("\nexit", " exit"), may_go_on=True)
    assert state == "interrupted"
    assert reason == "The actor is dead because its worker process has died"


def test_what_ray_ends_for_want_of_memory_is_out_of_memory():
    text = OF_A_CLUSTER.replace("SYSTEM_ERROR", "NODE_OUT_OF_MEMORY")
    assert state_after_error(text, may_go_on=True)[0] == "out_of_memory"


def test_a_process_that_never_came_up_has_no_traceback():
    assert state_after_error("", may_go_on=True) == ("interrupted", "the trial's process died")


def test_an_error_of_the_training_fails_the_trial():
    text = "Traceback (most recent call last):\n  File x\nValueError: no\n"
    assert state_after_error(text, may_go_on=True) == ("failed", "ValueError: no")


def test_a_full_disk_is_no_fault_of_the_trial():
    text = "OSError: [Errno 28] No space left on device: 'a.partial'"
    assert is_disk_full(text)
    assert state_after_error(text, may_go_on=True)[0] == "interrupted"
