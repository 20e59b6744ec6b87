"""Images/s of data-parallel training on this machine's cores, one thread a worker.

    python -m tests.benchmarks.workers --data ~/photos

A group of one worker, a group of two, and two processes that torchrun starts without Ray train
the same epochs in turn; a group waits while the others train. Start-up is told apart: until a
group's first epoch begins.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import typer

from inat_ray.config.load import load_experiment
from inat_ray.config.resources import Resources
from inat_ray.data.dataset import open_dataset
from inat_ray.storage.place import Place
from inat_ray.training.loop import Job, TrainedEpoch
from inat_ray.training.worker_group import WorkerGroup
from inat_ray.tuning.own_ray import own_ray
from tests.benchmarks.comparison import TINY, Data, Part, Rounds, Settings, Short, alternate

WORKERS = 2


class Runner:
    """A group, and how far its job has come."""

    def __init__(self, group: WorkerGroup, job: Job) -> None:
        self.group, self.job = group, job
        self.newest: TrainedEpoch | None = None
        self.around: list[float] = []
        """Seconds of each epoch's call besides its training and validation."""

    def epoch(self, _: int) -> float:
        """Images/s of the epoch's training part."""
        begin = time.perf_counter()
        self.newest = self.group.epoch(
            self.job,
            epochs_done=self.newest.metrics.epoch if self.newest else 0,
            resume_from=self.newest.checkpoint if self.newest else None,
        )
        metrics = self.newest.metrics
        self.around.append(time.perf_counter() - begin - metrics.seconds)
        return metrics.images_per_second


def torchrun_epoch(data: str, settings: list[str]) -> float:
    """Images/s of PyTorch's DistributedDataParallel under torchrun."""
    options = [part for each in settings for part in ("--set", each)]
    script = [str(Path(__file__).with_name("plain_ddp.py")), "--data", data, *options]
    line = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={WORKERS}", *script]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(line, check=True, env=environment, stdout=subprocess.PIPE, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def main(
    data: Data,
    rounds: Rounds = 3,
    settings: Settings = None,
    short: Short = False,
    out: Path | None = None,
) -> None:
    given = ["data.image_size=64", "recipe.batch_size=128", *(settings or [])]
    if short:
        rounds, given = 1, [*given, *TINY, "recipe.epochs=2"]
    experiment = load_experiment(
        Path("experiments/cnn_best.yaml"),
        settings=given,
        options={"data.source": ("--data", data)},
    )
    dataset = open_dataset(experiment.data)
    place = Place.at(tempfile.mkdtemp(prefix="inat_ray-benchmark-"))
    runners: dict[str, Runner] = {}
    with ExitStack() as stack:
        stack.enter_context(own_ray(log_to_driver=False, num_cpus=WORKERS + 1))
        for name, count in {"one worker": 1, "two workers": WORKERS}.items():
            resources = Resources(workers_per_trial=count, gpus_per_worker=0, max_failures=0)
            group = WorkerGroup(resources, storage=place)
            job = Job(experiment, dataset, checkpoints=place / str(count))
            runners[name] = Runner(stack.enter_context(group), job)
        ways = {name: runner.epoch for name, runner in runners.items()}
        # It warms up by itself, each time.
        ways["two processes of torchrun"] = lambda number: (
            torchrun_epoch(data, given) if number else float("nan")
        )
        part = Part("workers", out=out)
        speeds = alternate(
            ways,
            rounds=rounds,
            keep=lambda name, values: part.add(name, values, unit="images/s"),
        )
    for name, runner in runners.items():
        first, *steady = runner.around
        part.add(f"{name}: start", [first], unit="s", digits=1)
        part.add(f"{name}: around an epoch", [1000 * s for s in steady], unit="ms")
    part.compare("two_workers_ratio", speeds["two workers"], speeds["one worker"])
    theirs = speeds["two processes of torchrun"]
    part.compare("two_workers_over_torchrun", speeds["two workers"], theirs)
    part.tell()


if __name__ == "__main__":
    typer.run(main)
