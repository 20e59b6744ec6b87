"""Training epochs as scripts and other tools have them; each returns images/s."""

import logging
import os
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from inat_ray.config.experiment import Experiment
from inat_ray.models.build import build_model
from inat_ray.models.layers import layers_of
from inat_ray.models.trace import trace
from inat_ray.training.device import autocast, resolve_device, tune_process
from inat_ray.training.parameter_groups import build_optimizer
from tests.benchmarks.apart import Way

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

Loader = Iterable[tuple[Tensor, Tensor]]


def plain(experiment: Experiment, folder: Path) -> Way:
    """What a hand-written script does."""
    return _loop(experiment, image_folder(experiment, folder), tuned=False)


def tuned(experiment: Experiment, folder: Path) -> Way:
    """The same script by somebody who knows what makes steps fast."""
    return _loop(experiment, image_folder(experiment, folder), tuned=True)


def dali(experiment: Experiment, folder: Path) -> Way:
    """The tuned script on DALI's batches."""
    return _loop(experiment, DaliLoader(experiment, folder), tuned=True)


def _loop(experiment: Experiment, loader: Loader, *, tuned: bool) -> Way:
    device = resolve_device(experiment.device)
    layout = torch.channels_last if tuned else torch.contiguous_format
    model = _model(experiment).to(device, memory_format=layout)
    if tuned:
        tune_process(device)
        optimizer = build_optimizer(
            experiment.recipe,
            layers_of(
                model,
                trace(
                    model, torch.zeros(1, 3, experiment.data.image_size, experiment.data.image_size)
                ),
            ),
        )
    else:
        optimizer = _plain_optimizer(experiment, model)

    def images_per_second(_: int) -> float:
        begin, seen = time.perf_counter(), 0
        for images, labels in loader:
            optimizer.zero_grad()
            views = images.to(device, memory_format=layout, non_blocking=tuned)
            with autocast(experiment.recipe, device) if tuned else nullcontext():
                logits = model(views)
            _loss(logits, labels.to(device, non_blocking=tuned)).backward()
            optimizer.step()
            seen += len(images)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return seen / (time.perf_counter() - begin)

    return images_per_second


def lightning(experiment: Experiment, folder: Path) -> Way:
    """The plain loader behind Lightning's Trainer, with all that it may leave out left out.

    By the clock of the second epoch of each call of `fit`: the first begins with batches that
    were read before, or reads them in vain.
    """
    import lightning as package

    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.ERROR)

    class Module(package.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = _model(experiment)
            self.begin = self.seconds = 0.0

        def on_train_epoch_start(self) -> None:
            self.begin = time.perf_counter()

        def on_train_epoch_end(self) -> None:
            self.seconds = time.perf_counter() - self.begin

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            images, labels = batch
            return _loss(self.model(images), labels)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return _plain_optimizer(experiment, self.model)

    loader, module = image_folder(experiment, folder), Module()
    trainer = package.Trainer(
        max_epochs=1, accelerator="auto", devices=1, logger=False, barebones=True
    )

    def images_per_second(epoch: int) -> float:
        trainer.fit_loop.max_epochs = 2 * (epoch + 1)
        trainer.fit(module, loader)
        return len(loader) * experiment.recipe.batch_size / module.seconds

    return images_per_second


def _model(experiment: Experiment) -> nn.Module:
    folders = Path(experiment.data.source).expanduser() / "train"
    classes = sum(each.is_dir() for each in folders.iterdir())
    return build_model(experiment, classes=classes, weights=None)


def _plain_optimizer(experiment: Experiment, model: nn.Module) -> torch.optim.Optimizer:
    recipe = experiment.recipe
    return torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, label_smoothing=0.1)


def augmentation(experiment: Experiment) -> transforms.Compose:
    """Crop, flip and normalise, as torchvision does it image by image."""
    scale = (experiment.recipe.augmentation.crop_scale, 1.0)
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(experiment.data.image_size, scale=scale),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )


def image_folder(experiment: Experiment, folder: Path) -> "DataLoader[tuple[Tensor, Tensor]]":
    """The documented way: views made in loader processes that live on."""
    return DataLoader(
        datasets.ImageFolder(folder / "train", augmentation(experiment)),
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
        area = [experiment.recipe.augmentation.crop_scale, 1.0]

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
                files, device="mixed" if on_gpu else "cpu", random_area=area
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
