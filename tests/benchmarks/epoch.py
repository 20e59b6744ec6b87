"""Images/s of a training epoch, against the bound and against a plain PyTorch script.

    python tests/benchmarks/epoch.py --data ~/photos

Three ways to make the same steps of the same model, in turn, several times in one run:
`Fit`, as `train` runs it; the same steps on batches that are augmented already and in memory,
which is the bound for any data path; and torchvision's ImageFolder behind a DataLoader with a
process a core. Prints a table, and JSON as the last line.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import DataSet, open_dataset
from inat_ray.models.build import build_model
from inat_ray.models.layers import layers_of
from inat_ray.training.fit import Fit
from inat_ray.training.metrics import Sums
from inat_ray.training.recipe import build_optimizer

Epoch = Callable[[int], int]
"""Trains one epoch, given its number; returns the images it saw."""


def fit_epoch(experiment: Experiment, data: DataSet) -> Epoch:
    fit = Fit(experiment, data)
    fit.prepare(0)

    def run(epoch: int) -> int:
        sums = Sums(len(data.pack.classes), fit.device)
        for batch in fit.inputs.batches.epoch(epoch):
            fit.step(batch, sums)
        return sums.metrics().images

    return run


def bound_epoch(experiment: Experiment, data: DataSet) -> Epoch:
    fit = Fit(experiment, data)
    fit.prepare(0)
    ready = list(fit.inputs.batches.epoch(0))

    def run(_: int) -> int:
        sums = Sums(len(data.pack.classes), fit.device)
        for batch in ready:
            fit.step(batch, sums)
        return sums.metrics().images

    return run


def plain_epoch(experiment: Experiment, data: DataSet) -> Epoch:
    """What a hand-written script does, with the same model and optimiser."""
    model = build_model(experiment, classes=len(data.pack.classes), weights=None)
    optimizer = build_optimizer(experiment.recipe, layers_of(model))
    loader = _image_folder_loader(experiment)

    def run(_: int) -> int:
        seen = 0
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
            seen += len(images)
        return seen

    return run


def _image_folder_loader(experiment: Experiment) -> "DataLoader[tuple[torch.Tensor, int]]":
    size = experiment.data.image_size
    view = transforms.Compose(
        [
            transforms.RandomResizedCrop(size, scale=(0.6, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.5,) * 3, (0.25,) * 3),
        ]
    )
    folder = datasets.ImageFolder(Path(experiment.data.source).expanduser() / "train", view)
    return DataLoader(
        folder,
        batch_size=experiment.recipe.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=os.cpu_count() or 1,
        persistent_workers=True,
    )


def alternate(ways: dict[str, Epoch], rounds: int) -> Iterator[tuple[str, float]]:
    """(way, images/s) of each epoch; the first round warms up and is not told."""
    for number in range(rounds + 1):
        for name, epoch in ways.items():
            begin = time.perf_counter()
            images = epoch(number)
            if number:
                yield name, images / (time.perf_counter() - begin)


def main(
    data: Annotated[str, typer.Option(help="A folder with train/ and val/.")],
    rounds: int = 5,
    settings: Annotated[list[str] | None, typer.Option("--set")] = None,
) -> None:
    experiment = load_experiment(
        Path("experiments/cnn_best.yaml"),
        settings=["data.image_size=64", *(settings or [])],
        options={"data.source": ("--data", data)},
    )
    dataset = open_dataset(experiment.data)
    ways = {
        "Fit": fit_epoch(experiment, dataset),
        "bound: batches in memory": bound_epoch(experiment, dataset),
        "ImageFolder + DataLoader": plain_epoch(experiment, dataset),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for name, speed in alternate(ways, rounds):
        speeds[name].append(speed)
    table = Table("way", "images/s (median)", "min", "max", "Fit / way (median of rounds)")
    ratios = {
        name: statistics.median(f / o for f, o in zip(speeds["Fit"], other, strict=True))
        for name, other in speeds.items()
    }
    for name, values in speeds.items():
        numbers = [statistics.median(values), min(values), max(values)]
        table.add_row(name, *(f"{n:,.0f}" for n in numbers), f"{ratios[name]:.3f}")
    Console(stderr=True).print(table)
    sys.stdout.write(json.dumps({"images_per_second": speeds, "fit_over": ratios}) + "\n")


if __name__ == "__main__":
    typer.run(main)
