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


DIED = "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task."


def test_a_process_that_died_lets_the_trial_go_on_but_not_forever():
    assert state_after_error(DIED, may_go_on=True) == ("interrupted", DIED)
    assert state_after_error(DIED, may_go_on=False) == ("failed", DIED)


def test_a_process_that_never_came_up_has_no_traceback():
    assert state_after_error("", may_go_on=True) == ("interrupted", "the trial's process died")


def test_an_error_of_the_training_fails_the_trial():
    assert state_after_error("x\nValueError: no\n", may_go_on=True) == ("failed", "ValueError: no")


def test_a_full_disk_is_no_fault_of_the_trial():
    text = "OSError: [Errno 28] No space left on device: 'a.partial'"
    assert is_disk_full(text)
    assert state_after_error(text, may_go_on=True)[0] == "interrupted"
