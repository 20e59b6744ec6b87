from types import SimpleNamespace

import pytest
from ray.exceptions import NodeDiedError, WorkerCrashedError

from inat_ray.config.errors import RunFailedError
from inat_ray.config.experiment import Experiment
from inat_ray.config.resources import Resources
from inat_ray.run.checkpoints import BEGINNING, StartingPoint
from inat_ray.storage.place import Place
from inat_ray.training.loop import Job
from inat_ray.tuning import final_training
from inat_ray.tuning.final_training import train_winner

L4 = {"accelerator_type:L4": 1.0}


class Cluster:
    """In place of Ray: tasks that train in name alone, and die as they are told to."""

    def __init__(self, *deaths: tuple[int, Exception]) -> None:
        """`deaths`: of each task in turn, after which epoch and of what."""
        self.deaths, self.options, self.begun = list(deaths), [], []

    def nodes(self) -> list[dict]:
        kinds = [{"CPU": 16.0}, {"CPU": 4.0} | L4]
        return [{"Alive": True, "Resources": resources} for resources in kinds]

    def get(self, answer):
        if isinstance(answer, Exception):
            raise answer
        return answer

    def remote(self, _function):
        return SimpleNamespace(options=self._task)

    def _task(self, **options):
        self.options.append(options)
        return SimpleNamespace(remote=self._begin)

    def _begin(self, job: Job, start: StartingPoint, **_):
        self.begun.append((start.epochs_done, start.checkpoint))
        last, error = self.deaths.pop(0) if self.deaths else (4, None)
        for epoch in range(start.epochs_done + 1, last + 1):
            metrics = SimpleNamespace(epoch=epoch)
            yield SimpleNamespace(metrics=metrics, checkpoint=job.checkpoints / str(epoch))
        if error is not None:
            yield error


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """Trains for four epochs on a cluster; returns the epochs that came."""

    def trained(cluster: Cluster, *, failures: int, start=BEGINNING, **resources) -> list[int]:
        monkeypatch.setattr(final_training, "ray", cluster)
        wanted = Resources(**resources)
        monkeypatch.setattr(final_training, "final_resources", lambda _: wanted)
        tree = {"recipe": {"epochs": 4}, "resources": {"max_failures": failures}}
        experiment = Experiment.model_validate(tree)
        job = Job(experiment, None, checkpoints=Place.at(tmp_path))
        return [done.metrics.epoch for done in train_winner(job, storage=None, start=start)]

    return trained


def test_a_node_that_is_lost_costs_an_epoch_and_not_the_sweep(trained, tmp_path):
    cluster = Cluster((2, NodeDiedError("gone")), (2, WorkerCrashedError()))
    assert trained(cluster, failures=2, gpus_per_worker=0) == [1, 2, 3, 4]
    again = (2, Place.at(tmp_path) / "2")
    assert cluster.begun == [(0, None), again, again]


def test_one_that_is_lost_too_often_ends_the_run_with_a_sentence(trained):
    cluster = Cluster((1, WorkerCrashedError()), (1, WorkerCrashedError()))
    with pytest.raises(RunFailedError, match=r"died 2 times at epoch 2.*resources\.max_failures"):
        trained(cluster, failures=1, gpus_per_worker=0)


def test_an_error_of_the_training_itself_is_not_tried_again(trained):
    cluster = Cluster((1, ValueError("no such thing")))
    with pytest.raises(ValueError, match="no such thing"):
        trained(cluster, failures=3, gpus_per_worker=0)
    assert len(cluster.begun) == 1


def test_a_single_worker_trains_the_winner_on_the_kind_of_gpu_that_was_asked_for(trained):
    cluster = Cluster()
    trained(cluster, failures=0, gpus_per_worker=1, accelerator_type="L4")
    assert cluster.options[0]["resources"] == {"accelerator_type:L4": 0.001}


def test_the_cpus_are_those_of_a_node_that_can_be_had(trained):
    for kind, cpus in ((None, 16), ("L4", 4)):
        cluster = Cluster()
        trained(cluster, failures=0, accelerator_type=kind)
        assert cluster.options[0]["num_cpus"] == cpus
