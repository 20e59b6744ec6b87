"""Images/s of data-parallel training on this machine's cores, one thread a worker.

    python tests/benchmarks/workers.py --data ~/photos

A group of one worker and a group of `--workers` train the same epochs in turn, in one run; the
other group waits meanwhile. Start-up is told apart: until a group's first epoch begins. Prints a
table, and JSON as the last line.
"""

import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import ray
import typer
from rich.console import Console
from rich.table import Table

from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import open_dataset
from inat_ray.storage.place import Place
from inat_ray.training.distributed import WorkerGroup, WorkerResources, worker_group
from inat_ray.training.run import Job, TrainedEpoch


class Runner:
    """A group, and how far its job has come."""

    def __init__(self, group: WorkerGroup, job: Job) -> None:
        self.group, self.job = group, job
        self.newest: TrainedEpoch | None = None

    def epoch(self) -> tuple[float, float]:
        """(images/s of the epoch's training part, seconds around the epoch)."""
        begin = time.perf_counter()
        self.newest = self.group.epoch(
            self.job,
            epochs_done=self.newest.metrics.epoch if self.newest else 0,
            resume_from=self.newest.checkpoint if self.newest else None,
        )
        metrics = self.newest.metrics
        return metrics.images_per_second, time.perf_counter() - begin - metrics.seconds


def main(
    data: Annotated[str, typer.Option(help="A folder of labelled photographs.")],
    workers: int = 2,
    rounds: int = 4,
    settings: Annotated[list[str] | None, typer.Option("--set")] = None,
) -> None:
    experiment = load_experiment(
        Path("experiments/cnn_best.yaml"),
        settings=["data.image_size=64", "recipe.batch_size=128", *(settings or [])],
        options={"data.source": ("--data", data)},
    )
    dataset = open_dataset(experiment.data)
    ray.init(num_cpus=workers + 1, include_dashboard=False, log_to_driver=False)
    place = Place.at(tempfile.mkdtemp(prefix="inat_ray-benchmark-"))
    speeds: dict[int, list[float]] = {1: [], workers: []}
    around: dict[int, list[float]] = {1: [], workers: []}
    with ExitStack() as stack:
        runners = {}
        for count in speeds:
            group = worker_group(
                WorkerResources(workers=count, cpus=1, gpus=0), storage=place, max_failures=0
            )
            job = Job(experiment, dataset, checkpoints=place / str(count))
            runners[count] = Runner(stack.enter_context(group), job)
        for _ in range(rounds + 1):
            for count, runner in runners.items():
                speed, rest = runner.epoch()
                speeds[count].append(speed)
                around[count].append(rest)
    _tell(speeds, around, workers=workers)


def _tell(speeds: dict[int, list[float]], around: dict[int, list[float]], *, workers: int) -> None:
    """The first epoch of each group is its warm-up, and what is around it its start."""
    table = Table("workers", "images/s (median)", "min", "max", "start-up, s", "around an epoch, s")
    for count, values in speeds.items():
        steady = values[1:]
        table.add_row(
            str(count),
            *(f"{n:,.0f}" for n in (statistics.median(steady), min(steady), max(steady))),
            f"{around[count][0]:.1f}",
            f"{statistics.median(around[count][1:]):.3f}",
        )
    pairs = zip(speeds[workers][1:], speeds[1][1:], strict=True)
    ratios = [several / one for several, one in pairs]
    Console(stderr=True).print(table)
    Console(stderr=True).print(f"ratio {statistics.median(ratios):.3f} (n = {len(ratios)})")
    told = {"images_per_second": speeds, "around_epochs": around, "ratios": ratios}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    typer.run(main)
