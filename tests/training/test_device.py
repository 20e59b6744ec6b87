import pytest
import torch

from inat_ray.config.errors import UserError
from inat_ray.optimizers.registry import can_fuse
from inat_ray.training.device import in_background, on_host, resolve_device


@pytest.fixture
def machine(monkeypatch):
    """A machine that has some kinds of GPU."""

    def have(*kinds: str) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in kinds)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in kinds)

    return have


@pytest.mark.parametrize(
    ("kinds", "name", "expected"),
    [
        ((), "auto", "cpu"),
        (("mps",), "auto", "mps"),
        (("cuda", "mps"), "auto", "cuda"),
        (("mps",), "mps", "mps"),
        (("mps",), "cpu", "cpu"),
    ],
)
def test_a_gpu_is_taken_where_there_is_one(machine, kinds, name, expected):
    machine(*kinds)
    assert resolve_device(name) == torch.device(expected)


@pytest.mark.parametrize(("kinds", "name"), [((), "mps"), (("cuda",), "mps"), (("mps",), "cuda")])
def test_a_gpu_that_is_not_there_is_refused(machine, kinds, name):
    machine(*kinds)
    with pytest.raises(UserError, match=f"device: {name}: PyTorch sees no such GPU here; allowed"):
        resolve_device(name)


def test_on_apples_gpu_no_step_of_an_optimizer_is_fused():
    class OnApples(torch.Tensor):
        device = torch.device("mps")

    weight = torch.zeros(1)
    assert can_fuse([{"params": [weight]}])
    assert not can_fuse([{"params": [weight]}, {"params": [weight.as_subclass(OnApples)]}])


def test_a_state_on_the_host_does_not_change_with_the_one_on_the_device():
    weight = torch.ones(2, requires_grad=True)
    state = {"weights": [weight], "steps": 3, "groups": [{"lr": 0.1, "betas": (0.9, 0.99)}]}
    copied = on_host(state)
    with torch.no_grad():
        weight.zero_()
    assert copied["weights"][0].tolist() == [1, 1]
    assert (copied["steps"], copied["groups"]) == (3, state["groups"])


def test_an_error_on_the_thread_is_raised_to_whoever_asks():
    def fail() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        in_background(fail, torch.device("cpu")).result()
