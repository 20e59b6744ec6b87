"""Images/s of a training epoch: `Fit`, its bound, and other ways to the same steps.

    python -m tests.benchmarks.epoch --data ~/photos

The same model takes the same number of steps, in turn, several times in one run. `Fit` is what
`train` runs; the bound is the same on batches that are augmented already and in memory. The
others are a plain loop over torchvision's ImageFolder and a DataLoader with a process a core,
Lightning with the same loader, and NVIDIA DALI, the fastest loader of JPEGs known to us that
installs from PyPI. Each has the optimiser's fused form and a network in channels_last, as `Fit`
has, so that what differs is the way that the images take.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.data.batches import Batch
from inat_ray.data.dataset import DataSet, open_dataset
from inat_ray.models.build import build_model
from inat_ray.models.layers import layers_of
from inat_ray.training.device import resolve_device
from inat_ray.training.fit import Fit
from inat_ray.training.metrics import Sums
from inat_ray.training.recipe import build_optimizer
from tests.benchmarks.comparison import (
    Data,
    Part,
    Rounds,
    Settings,
    alternate,
    in_own_process,
)
from tests.benchmarks.enlarged import enlarged
from tests.benchmarks.memory import MemoryPeak

Epoch = Callable[[int], float]
"""Trains one epoch, given its number; returns images/s."""

STUDY = Path("experiments/cnn_best.yaml")
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def fit_epoch(experiment: Experiment, data: DataSet) -> Epoch:
    """An epoch as `train` has it, without the validation after it."""
    fit = Fit(experiment, data)
    return _steps_of(fit, fit.inputs.batches.epoch)


def bound_epoch(experiment: Experiment, data: DataSet) -> Epoch:
    """The steps of one and the same epoch, whose batches are in memory."""
    fit = Fit(experiment, data)
    ready = list(fit.inputs.batches.epoch(0))
    return _steps_of(fit, lambda _: iter(ready))


def _steps_of(fit: Fit, batches: Callable[[int], Iterator[Batch]]) -> Epoch:
    fit.prepare(0)

    def run(epoch: int) -> float:
        begin = time.perf_counter()
        sums = Sums(len(fit.data.classes), fit.device)
        for batch in batches(epoch):
            fit.step(batch, sums)
        return sums.metrics().images / (time.perf_counter() - begin)

    return run


def plain_epoch(experiment: Experiment, folder: Path) -> Epoch:
    """What a hand-written script does."""
    return _loop(experiment, image_folder(experiment, folder))


def dali_epoch(experiment: Experiment, folder: Path) -> Epoch:
    """The same loop on DALI's batches."""
    return _loop(experiment, DaliLoader(experiment, folder))


def _loop(experiment: Experiment, loader: Iterable[tuple[Tensor, Tensor]]) -> Epoch:
    device = resolve_device(experiment.device)
    model = _model(experiment).to(device)
    optimizer = build_optimizer(experiment.recipe, layers_of(model))

    def run(_: int) -> float:
        begin, seen = time.perf_counter(), 0
        for images, labels in loader:
            optimizer.zero_grad()
            _loss(model, images.to(device), labels.to(device)).backward()
            optimizer.step()
            seen += len(images)
        return seen / (time.perf_counter() - begin)

    return run


def lightning_epoch(experiment: Experiment, folder: Path) -> Epoch:
    """The same loader behind Lightning's Trainer; an epoch is a call of `fit`."""
    import lightning

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = _model(experiment)

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            return _loss(self.model, *batch)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return build_optimizer(experiment.recipe, layers_of(self.model))

    loader, module = image_folder(experiment, folder), Module()
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="auto",
        devices=1,
        logger=False,
        barebones=True,
    )

    def run(epoch: int) -> float:
        trainer.fit_loop.max_epochs = epoch + 1
        begin = time.perf_counter()
        trainer.fit(module, loader)
        images = len(loader) * experiment.recipe.batch_size
        return images / (time.perf_counter() - begin)

    return run


def _model(experiment: Experiment) -> nn.Module:
    folders = Path(experiment.data.source).expanduser() / "train"
    classes = sum(each.is_dir() for each in folders.iterdir())
    model = build_model(experiment, classes=classes, weights=None)
    return model.to(memory_format=torch.channels_last)


def _loss(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    logits = model(images.contiguous(memory_format=torch.channels_last))
    return F.cross_entropy(logits, labels, label_smoothing=0.1)


def image_folder(experiment: Experiment, folder: Path) -> "DataLoader[tuple[Tensor, Tensor]]":
    """The documented way: crop, flip, normalise in loader processes that live on."""
    size = experiment.data.image_size
    views = transforms.Compose(
        [
            transforms.RandomResizedCrop(size, scale=(0.6, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    return DataLoader(
        datasets.ImageFolder(folder / "train", views),
        batch_size=experiment.recipe.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=os.cpu_count() or 1,
        persistent_workers=True,
        pin_memory=torch.cuda.is_available(),
    )


class DaliLoader:
    """Crop while decoding, resize, flip, normalise: on the CPU, a thread a core, or on a GPU."""

    def __init__(self, experiment: Experiment, folder: Path) -> None:
        from nvidia.dali import fn, pipeline_def

        size, on_gpu = experiment.data.image_size, torch.cuda.is_available()

        @pipeline_def(  # type: ignore[untyped-decorator]
            batch_size=experiment.recipe.batch_size,
            num_threads=os.cpu_count() or 1,
            device_id=0 if on_gpu else None,
            seed=0,
        )
        def views() -> object:
            files, labels = fn.readers.file(
                file_root=str(folder / "train"), random_shuffle=True, name="files"
            )
            images = fn.decoders.image_random_crop(
                files, device="mixed" if on_gpu else "cpu", random_area=[0.6, 1.0]
            )
            images = fn.resize(images, resize_x=size, resize_y=size)
            images = fn.crop_mirror_normalize(
                images,
                mirror=fn.random.coin_flip(),
                mean=[255 * mean for mean in MEAN],
                std=[255 * std for std in STD],
            )
            return images, labels

        self.pipeline = views()
        self.pipeline.build()
        self.steps = self.pipeline.epoch_size("files") // experiment.recipe.batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(self.steps):
            images, labels = self.pipeline.run()
            yield (
                torch.from_dlpack(images.as_tensor()),
                torch.from_dlpack(labels.as_tensor()).flatten().long(),
            )


def first_batch(experiment: Experiment, folder: Path) -> dict[str, list[float]]:
    """Seconds to the first batch: from an open data set, and from a new loader."""

    def ours(_: int) -> float:
        begin = time.perf_counter()
        next(Fit(experiment, open_dataset(experiment.data)).inputs.batches.epoch(0))
        return time.perf_counter() - begin

    def plain(_: int) -> float:
        begin = time.perf_counter()
        next(iter(image_folder(experiment, folder)))
        return time.perf_counter() - begin

    return alternate({"Fit": ours, "plain": plain}, rounds=3)


def peak_of(way: str, experiment: Experiment, folder: Path) -> float:
    """MB of an epoch, in a process of its own and the processes that it starts."""
    if way == "Fit":
        epoch = fit_epoch(experiment, open_dataset(experiment.data))
    else:
        epoch = OTHERS[way](experiment, folder)
    with MemoryPeak() as peak:
        epoch(0)
    return peak.mb


OTHERS = {"plain PyTorch": plain_epoch, "Lightning": lightning_epoch, "DALI": dali_epoch}


def main(
    data: Data,
    rounds: Rounds = 5,
    large_rounds: Annotated[int, typer.Option(help="Of the enlarged photographs.")] = 3,
    study: Annotated[Path, typer.Option(help="The model and its recipe.")] = STUDY,
    settings: Settings = None,
    out: Path | None = None,
) -> None:
    experiment = load_experiment(
        study,
        settings=["data.image_size=64", *(settings or [])],
        options={"data.source": ("--data", data)},
    )
    folder = Path(data).expanduser()
    part = Part("epoch")
    dataset = open_dataset(experiment.data)
    fit = fit_epoch(experiment, dataset)
    ways = {"Fit": fit, "bound": bound_epoch(experiment, dataset)}
    ways |= {name: make(experiment, folder) for name, make in OTHERS.items()}
    speeds = alternate(ways, rounds=rounds)
    for name, values in speeds.items():
        part.add(name, values, unit="images/s")
    part.compare("epoch_over_bound", speeds["Fit"], speeds["bound"])
    part.compare("epoch_over_plain", speeds["Fit"], speeds["plain PyTorch"])
    part.compare("epoch_over_lightning", speeds["Fit"], speeds["Lightning"])
    part.compare("epoch_over_dali", speeds["Fit"], speeds["DALI"])
    for name, values in first_batch(experiment, folder).items():
        part.add(f"{name}: first batch", values, unit="s", digits=2)
    for name in ["Fit", *OTHERS]:
        peak = in_own_process(peak_of, name, experiment, folder)
        part.add(f"{name}: peak memory", [peak], unit="MB")
    large = enlarged(folder, into=Path(tempfile.gettempdir()) / "inat_ray-800x600" / folder.name)
    ways = {"Fit": fit}
    for name in ("plain PyTorch", "DALI"):
        ways[f"{name}, 800 x 600"] = OTHERS[name](experiment, large)
    speeds = alternate(ways, rounds=large_rounds)
    for name in list(ways)[1:]:
        part.add(name, speeds[name], unit="images/s")
    part.compare("epoch_over_plain_800x600", speeds["Fit"], speeds["plain PyTorch, 800 x 600"])
    part.compare("epoch_over_dali_800x600", speeds["Fit"], speeds["DALI, 800 x 600"])
    part.tell(out)


if __name__ == "__main__":
    typer.run(main)
