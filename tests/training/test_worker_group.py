"""Real workers of Ray Train on CPUs. A group starts once for all tests of a size."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import ray
import torch

from inat_ray.config.epoch import EpochMetrics
from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.config.model import CnnConfig
from inat_ray.config.resources import Resources
from inat_ray.data.dataset import open_dataset
from inat_ray.storage.place import Place
from inat_ray.training.loop import Engine, Job, Worker, train_to_the_end
from inat_ray.training.worker_group import WorkerGroup

pytestmark = [
    pytest.mark.usefixtures("ray_instance"),
    # Ray Train loads Ray Data, which warns of itself.
    pytest.mark.filterwarnings("ignore:.use_.*is deprecated:DeprecationWarning"),
]

UNEVEN = 7
"""A batch that neither 2 nor 3 workers can share evenly."""


@pytest.fixture(scope="module")
def experiment(data_folder, small_settings) -> Experiment:
    """No dropout and no batch norm, so that the number of workers must not show; augmented."""
    settings = [
        *small_settings,
        f"data.source={data_folder}",
        f"recipe.batch_size={UNEVEN}",
        "recipe.epochs=3",
        "recipe.lr=0.001",
        "recipe.augmentation={mixup: 0.4, cutmix: 1.0, brightness: 0.2}",
        "recipe.gradient_clip=1.0",
        "model.batch_norm=false",
        "device=cpu",
    ]
    return load_experiment(None, settings=settings)


@pytest.fixture(scope="module")
def three_workers(ray_instance, tmp_path_factory) -> Iterator[WorkerGroup]:
    storage = tmp_path_factory.mktemp("storage")
    with WorkerGroup(resources_of(3, failures=2), storage=Place.at(storage)) as group:
        yield group
    assert list(storage.iterdir()) == []


def resources_of(workers: int, *, failures: int = 0) -> Resources:
    return Resources(workers_per_trial=workers, gpus_per_worker=0, max_failures=failures)


def job_of(experiment: Experiment, folder: Path) -> Job:
    data = open_dataset(experiment.data)
    place = Place.at(folder)
    return Job(experiment, data, checkpoints=place / "c", keeps_model=True)


def curve(engine: Engine, job: Job) -> list[tuple[float, float]]:
    return [losses(done.metrics) for done in train_to_the_end(job, engine)]


def losses(metrics: EpochMetrics) -> tuple[float, float]:
    return metrics.train_loss, metrics.val_loss


@pytest.fixture(scope="module")
def curve_alone(experiment, tmp_path_factory) -> list[tuple[float, float]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker has them: another number rounds otherwise
    found = curve(Worker(torch.device("cpu")), job_of(experiment, tmp_path_factory.mktemp("alone")))
    torch.set_num_threads(threads)
    return found


@pytest.mark.slow
def test_two_workers_give_the_curve_of_one(experiment, curve_alone, tmp_path):
    """Before the group of three, which takes all CPUs for as long as it lives."""
    with WorkerGroup(resources_of(2), storage=Place.at(tmp_path)) as group:
        found = curve(group, job_of(experiment, tmp_path))
    for alone, shared in zip(curve_alone, found, strict=True):
        assert shared == pytest.approx(alone, abs=1e-4)


@pytest.mark.slow
def test_three_workers_give_the_curve_of_one(experiment, three_workers, curve_alone, tmp_path):
    found = curve(three_workers, job_of(experiment, tmp_path))
    for alone, shared in zip(curve_alone, found, strict=True):
        assert shared == pytest.approx(alone, abs=1e-4)


@pytest.mark.slow
def test_a_killed_worker_costs_an_epoch_and_changes_no_number(experiment, three_workers, tmp_path):
    """With dropout and batch norm, whose states a new process must take up again."""
    settings = {"dropout": 0.3, "batch_norm": True}
    model = experiment.model.model_copy(update=settings)
    experiment = experiment.model_copy(update={"model": model})
    expected = curve(three_workers, job_of(experiment, tmp_path / "undisturbed"))
    found = []
    for done in train_to_the_end(job_of(experiment, tmp_path / "disturbed"), three_workers):
        found.append(losses(done.metrics))
        if done.metrics.epoch == 2:
            os.kill(worker_processes()[-1], signal.SIGKILL)
    assert found == expected


def worker_processes() -> list[int]:
    """The process ids of Ray Train's workers on this machine."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may end while it is looked at
            if b"RayTrainWorker" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


@pytest.mark.slow
def test_what_no_repetition_would_mend_is_told_as_the_users_mistake_and_ends_the_group(
    experiment, three_workers, tmp_path
):
    broken = tmp_path / "weights.pth"
    broken.write_bytes(b"junk")
    settings = [f"model={{kind: resnet, backbone: resnet18, weights: '{broken}'}}"]
    resnet = load_experiment(None, settings=settings).model
    job = job_of(experiment.model_copy(update={"model": resnet}), tmp_path)
    with pytest.raises(UserError, match=r"weights\.pth"):
        three_workers.epoch(job, epochs_done=0, resume_from=None)
    assert comes_back_to((0, 0))


@pytest.mark.slow
def test_workers_that_die_again_and_again_fail_the_run_with_a_reason(experiment, tmp_path):
    long = experiment.recipe.model_copy(update={"epochs": 1000})
    job = job_of(experiment.model_copy(update={"recipe": long}), tmp_path)
    before = in_use()
    stop = threading.Event()

    def kill_each() -> None:
        while not stop.wait(3):  # long enough, mostly, for a worker to begin
            for process in worker_processes():
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)

    with WorkerGroup(resources_of(1, failures=1), storage=Place.at(tmp_path / "s")) as group:
        group.epoch(job, epochs_done=0, resume_from=None)
        killer = threading.Thread(target=kill_each)
        killer.start()
        try:
            with pytest.raises(RunFailedError, match=r"2 attempts|the workers ended"):
                for _ in train_to_the_end(job, group):
                    pass
        finally:
            stop.set()
            killer.join()
    assert comes_back_to(before)


@pytest.mark.slow
def test_workers_in_the_middle_of_an_epoch_end_when_they_are_told_to(experiment, tmp_path):
    """As at Ctrl-C: the driver leaves while the workers are busy."""
    settings = {"image_size": 64, "source": "demo", "demo_images_per_class": 2000}
    endless = experiment.model_copy(
        update={"data": experiment.data.model_copy(update=settings), "model": CnnConfig()}
    )
    before = in_use()
    group = WorkerGroup(resources_of(2), storage=Place.at(tmp_path))
    group.epoch(job_of(experiment, tmp_path / "first"), epochs_done=0, resume_from=None)
    job = job_of(endless, tmp_path / "second")
    errors: list[BaseException] = []

    def drive() -> None:
        try:
            group.epoch(job, epochs_done=0, resume_from=None)
        except BaseException as error:
            errors.append(error)

    driver = threading.Thread(target=drive)
    driver.start()
    time.sleep(3)
    begin = time.monotonic()
    group.close(at_once=True)
    assert comes_back_to(before)
    assert time.monotonic() - begin < 5
    driver.join(timeout=30)
    assert len(errors) == 1


def in_use() -> tuple[float, int]:
    """CPUs that are taken, and placement groups that exist."""
    groups = ray.util.placement_group_table().values()
    left = [group for group in groups if group["state"] != "REMOVED"]
    return ray.cluster_resources()["CPU"] - ray.available_resources().get("CPU", 0), len(left)


def comes_back_to(before: tuple[float, int]) -> bool:
    """Whether no more is in use than before, within the 5 seconds that are promised."""
    for _ in range(50):
        if in_use() == before:
            return True
        time.sleep(0.1)
    return False
