import numpy as np
import pytest
import torch

from inat_ray.data import resident as module
from inat_ray.data.resident import Key, resident

GPU = torch.device("cuda")


@pytest.fixture
def made(monkeypatch):
    """A GPU that has room for 100 bytes of an array; the calls that made one."""
    calls = []
    monkeypatch.setattr(module, "_kept", {})
    monkeypatch.setattr(module, "_room", lambda device: 100 / module.RESIDENT_SHARE)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device: tensor)

    def get(source: str, subset: str, rows: bytes = b"", size: int = 3):
        def make():
            calls.append((source, subset, rows))
            return np.zeros(size, np.uint8)

        return resident(Key(source, subset, rows), make, size=size, device=GPU)

    get.calls = calls
    return get


def test_what_one_training_left_on_the_gpu_the_next_one_finds(made):
    train, validation = made("pack", "train"), made("pack", "validation")
    assert made("pack", "train") is train
    assert made("pack", "validation") is validation
    assert len(made.calls) == 2


@pytest.mark.parametrize("other", [("another pack", "test", b""), ("pack", "train", b"rows")])
def test_what_other_data_replaces_is_given_up(made, other):
    train = made("pack", "train")
    made(*other)
    assert made("pack", "train") is not train


def test_what_does_not_fit_is_not_made(made):
    assert made("pack", "train", size=101) is None
    assert made.calls == []


def test_on_a_cpu_nothing_is_resident():
    key = Key("pack", "train", b"")
    assert resident(key, lambda: np.zeros(1), size=1, device=torch.device("cpu")) is None


def test_a_process_has_its_share_of_a_gpu_less_what_it_took_and_never_more_than_is_free(
    monkeypatch,
):
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: 0.25)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 5)
    for free, room in ((90, 20), (10, 10)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 100))
        assert module._room(GPU) == room
