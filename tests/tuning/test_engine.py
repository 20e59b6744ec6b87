import pytest
import torch

from inat_ray.config.experiment import Experiment
from inat_ray.config.resources import Resources
from inat_ray.storage.place import Place
from inat_ray.training import worker_group
from inat_ray.training.loop import Worker
from inat_ray.tuning.engine import engine, ray_if_needed, worker_device

NO_GPU = Resources(gpus_per_worker=0)


def test_one_worker_is_this_process_with_the_threads_that_it_is_given(tmp_path):
    before = torch.get_num_threads()
    try:
        with engine(NO_GPU, Experiment(), storage=Place.at(tmp_path), threads=1) as trainer:
            assert isinstance(trainer, Worker)
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_several_are_a_group_that_ends_with_the_context(monkeypatch, tmp_path, error):
    closed = []

    class Group(worker_group.WorkerGroup):
        def close(self, *, at_once: bool = False) -> None:
            closed.append(at_once)

    monkeypatch.setattr(worker_group, "WorkerGroup", Group)
    resources = Resources(workers_per_trial=2, gpus_per_worker=0)
    try:
        with engine(resources, Experiment(), storage=Place.at(tmp_path)) as trainer:
            assert isinstance(trainer, Group)
            if error is not None:
                raise error
    except KeyboardInterrupt:
        assert error is not None
    assert closed == [error is not None]


def test_a_worker_without_a_gpu_trains_on_the_cpu_whatever_it_sees():
    assert worker_device(NO_GPU, Experiment()).type == "cpu"
    assert worker_device(Resources(gpus_per_worker=0.5), Experiment()).type == "cuda"


@pytest.mark.parametrize(
    ("device", "gpus", "expected"),
    [("auto", None, "mps"), ("mps", None, "mps"), ("auto", 0, "cpu"), ("cpu", None, "cpu")],
)
def test_a_trial_takes_apples_gpu_unless_it_wants_none(monkeypatch, device, gpus, expected):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    experiment = Experiment(device=device, resources=Resources(gpus_per_worker=gpus))
    assert worker_device(NO_GPU, experiment).type == expected


def test_a_single_worker_needs_no_ray():
    with ray_if_needed(Experiment(device="cpu"), verbose=False) as resources:
        assert (resources.workers_per_trial, resources.gpus_per_worker) == (1, 0)
