"""Time and memory of a training step by how much of a ResNet50 is frozen, and of cached features.

    python -m tests.benchmarks.freeze --data ~/photos

Each strategy in a process of its own, so that its peak memory is its own; the processes take
turns, a strategy each.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import torch
import typer

from inat_ray.config.load import load_experiment
from inat_ray.data.batches import Batch
from inat_ray.data.dataset import open_dataset
from inat_ray.training.fit import Fit
from inat_ray.training.sums import Sums
from tests.benchmarks.comparison import (
    Data,
    Part,
    Rounds,
    Settings,
    Short,
    in_own_process,
    peak_memory_mb,
)

CACHED = "head_only, on cached features"
STRATEGIES = {
    "nothing frozen": "{strategy: none}",
    "30 % frozen": "{strategy: fraction, fraction: 0.3}",
    "50 % frozen": "{strategy: fraction, fraction: 0.5}",
    "80 % frozen": "{strategy: fraction, fraction: 0.8}",
    "freeze_fc": "{strategy: freeze_fc}",
    "head_only": "{strategy: head_only}",
    CACHED: "{strategy: head_only}",
}
COMPARED = ("nothing frozen", "80 % frozen", "head_only", CACHED)
WARM_UP = 2


@dataclass(frozen=True)
class Measured:
    """One strategy in one process."""

    step: float
    """Seconds, the median of the steps."""
    memory: float
    """MB, the process's peak."""
    epoch: float
    """Seconds of all steps of an epoch, and of its validation."""
    ready: float
    """Seconds until training can begin: where features are cached, until they are computed."""


def measure(data: str, name: str, *, steps: int, settings: list[str]) -> Measured:
    experiment = load_experiment(
        None,
        settings=[
            "model={kind: resnet, backbone: resnet50, weights: none}",
            "data.image_size=64",
            f"model.freeze={STRATEGIES[name]}",
            f"model.cache_features={'true' if name == CACHED else 'false'}",
            "recipe.batch_size=32",
            *settings,
        ],
        options={"data.source": ("--data", data)},
    )
    dataset = open_dataset(experiment.data)
    begin = time.perf_counter()
    fit = Fit(experiment, dataset)
    fit.prepare(0)
    ready = time.perf_counter() - begin
    sums = Sums(len(fit.data.classes), fit.device)
    seconds = []
    for batch in islice(_forever(fit), WARM_UP + steps):
        begin = time.perf_counter()
        fit.step(batch, sums)
        _wait(fit.device)
        seconds.append(time.perf_counter() - begin)
    step = statistics.median(seconds[WARM_UP:])
    memory = peak_memory_mb(fit.device)
    begin = time.perf_counter()
    fit.validate()
    validation = time.perf_counter() - begin
    return Measured(step, memory, step * fit.inputs.batches.steps + validation, ready)


def _forever(fit: Fit) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from fit.inputs.batches.epoch(epoch)
        epoch += 1


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main(
    data: Data,
    rounds: Rounds = 2,
    steps: Annotated[int, typer.Option(help="Measured in each turn.")] = 8,
    settings: Settings = None,
    short: Short = False,
    out: Path | None = None,
) -> None:
    names = COMPARED if short else STRATEGIES
    rounds, steps = (1, 1) if short else (rounds, steps)
    told: dict[str, list[Measured]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="inat_ray-benchmark-") as cache:
        small = ["data.image_size=32", "recipe.batch_size=4"] if short else []
        given = [f"data.cache={cache}", *small, *(settings or [])]
        for _ in range(rounds):
            for name, turns in told.items():
                turns.append(in_own_process(measure, data, name, steps=steps, settings=given))
    part = Part("freeze", out=out)
    for name, turns in told.items():
        part.add(f"{name}: a step", [1000 * turn.step for turn in turns], unit="ms", digits=1)
        part.add(f"{name}: peak memory", [turn.memory for turn in turns], unit="MB")
        epochs = [turn.epoch for turn in turns]
        part.add(f"{name}: an epoch's steps and validation", epochs, unit="s", digits=2)
    part.add(f"{CACHED}: computing them once", [told[CACHED][0].ready], unit="s", digits=1)
    steps_of = {name: [turn.step for turn in turns] for name, turns in told.items()}
    part.compare("frozen80_step_ratio", steps_of["80 % frozen"], steps_of["nothing frozen"])
    part.compare("cached_head_speedup", steps_of["head_only"], steps_of[CACHED])
    part.tell()


if __name__ == "__main__":
    typer.run(main)
