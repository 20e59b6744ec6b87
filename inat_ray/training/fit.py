"""One training run: built from an experiment, advanced epoch by epoch, saved and restored."""

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from inat_ray.config.experiment import Experiment
from inat_ray.data.augment import Normalize, generator
from inat_ray.data.batches import (
    Batch,
    Images,
    TrainingBatches,
    subset_images,
)
from inat_ray.data.dataset import DataSet
from inat_ray.data.split import SubsetName
from inat_ray.models.cnn import build_cnn
from inat_ray.training.device import autocast, resolve_device, tune_process
from inat_ray.training.evaluation import Evaluation, evaluate, lay_out
from inat_ray.training.metrics import Metrics, Sums
from inat_ray.training.recipe import build_loss, build_optimizer, lr_factor

Tensors = tuple[Tensor, ...] | list[Tensor]


@dataclass(frozen=True)
class EpochMetrics:
    """One epoch. The training loss is the objective, with its smoothing; validation has none."""

    epoch: int
    """Counted from 1."""
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    val_balanced_accuracy: float
    lr: float
    """Of the epoch's last step."""
    seconds: float
    """Training and evaluation."""
    images_per_second: float
    """Training images over the seconds of the training part."""


class Fit:
    """The state of one training run.

    State: `model`, `optimizer`, `average` (the averaged weights, where the recipe has them)
    and `epochs_done`. All that is random follows from the seed and the epoch's number, so
    this state, restored, continues bit for bit on a CPU.
    """

    def __init__(
        self, experiment: Experiment, data: DataSet, *, device: torch.device | None = None
    ) -> None:
        self.experiment, self.data = experiment, data
        self.device = device or resolve_device(experiment.device)
        tune_process(self.device)
        recipe, classes = experiment.recipe, data.pack.classes
        self.model = self._on_device(build_model(experiment, classes=len(classes)))
        self.optimizer = build_optimizer(recipe, self.model)
        decay = recipe.ema_decay
        self.average = None if decay is None else average_of(self.model, decay=decay)
        self.epochs_done = 0
        self.diverged = False
        self._normalize = Normalize(data.mean, data.std, self.device)
        self.batches = self._training_batches()
        self._loss = build_loss(
            recipe, labels=self.batches.images.labels, classes=len(classes), device=self.device
        )
        self._evaluated: dict[SubsetName, Images] = {}

    @property
    def finished(self) -> bool:
        return self.epochs_done >= self.experiment.recipe.epochs

    @property
    def evaluated_model(self) -> nn.Module:
        """The averaged weights where the recipe has them, else the trained ones."""
        return self.model if self.average is None else self.average.module

    def epoch(self) -> EpochMetrics:
        """One pass over the training images, then the validation images once."""
        begin = time.perf_counter()
        trained, lr = self._train_epoch(self.epochs_done)
        seconds = time.perf_counter() - begin
        self.epochs_done += 1
        validated = self.evaluate("validation").metrics
        self.diverged = not (math.isfinite(trained.loss) and math.isfinite(validated.loss))
        return EpochMetrics(
            epoch=self.epochs_done,
            train_loss=trained.loss,
            train_accuracy=trained.accuracy,
            val_loss=validated.loss,
            val_accuracy=validated.accuracy,
            val_balanced_accuracy=validated.balanced_accuracy,
            lr=lr,
            seconds=time.perf_counter() - begin,
            images_per_second=trained.images / seconds,
        )

    def evaluate(self, subset: SubsetName) -> Evaluation:
        """Every image of a subset once: not augmented, no smoothing, no class weights."""
        if subset not in self._evaluated:
            self._evaluated[subset] = subset_images(self.data, subset, self.device)
        return evaluate(
            self.evaluated_model,
            images=self._evaluated[subset],
            normalize=self._normalize,
            size=self.experiment.data.image_size,
            recipe=self.experiment.recipe,
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next epoch depends on."""
        return {
            "epochs_done": self.epochs_done,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from where `state` was taken, by the same experiment on the same data."""
        self.epochs_done = state["epochs_done"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def _train_epoch(self, epoch: int) -> tuple[Metrics, float]:
        """Returns the training metrics and the last step's learning rate."""
        # Dropout draws from the global generator: seeded here, it follows from the epoch alone.
        torch.manual_seed(generator(self.experiment.seed, epoch).initial_seed())
        self.model.train()
        sums = Sums(len(self.data.pack.classes), self.device)
        first = epoch * self.batches.steps
        lr = 0.0
        for step, batch in enumerate(self.batches.epoch(epoch), start=first):
            lr = self._set_lr(step)
            self.step(batch, sums)
        return sums.metrics(), lr

    def step(self, batch: Batch, sums: Sums) -> None:
        """One optimiser step. Nothing here waits for the device."""
        recipe = self.experiment.recipe
        with autocast(recipe, self.device):
            logits = self.model(lay_out(batch.images, recipe))
        losses = self._loss(logits, batch)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(losses.mean())
        if recipe.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), recipe.gradient_clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        sums.add(losses, logits, batch.labels)

    def _set_lr(self, step: int) -> float:
        recipe = self.experiment.recipe
        lr = recipe.lr * lr_factor(recipe, step, recipe.epochs * self.batches.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _training_batches(self) -> TrainingBatches:
        recipe = self.experiment.recipe
        return TrainingBatches(
            images=subset_images(self.data, "train", self.device),
            normalize=self._normalize,
            size=self.experiment.data.image_size,
            batch_size=recipe.batch_size,
            seed=self.experiment.seed,
            augmentation=recipe.augmentation if recipe.augment else None,
        )

    def _on_device(self, model: nn.Module) -> nn.Module:
        model = model.to(self.device)
        if self.experiment.recipe.channels_last:
            model = model.to(memory_format=torch.channels_last)
        return model


def build_model(experiment: Experiment, *, classes: int) -> nn.Module:
    """The experiment's model on the CPU, initialised from its seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        return build_cnn(experiment.model, classes=classes, image_size=experiment.data.image_size)


def average_of(model: nn.Module, *, decay: float) -> AveragedModel:
    """An exponential moving average of the weights; batch norm's statistics are the newest.

    The decay grows from 0.1 to its value, min(decay, (1 + n) / (10 + n)) after n steps, so
    that the first random weights do not linger.
    """

    @torch.no_grad()
    def update(averages: Tensors, weights: Tensors, steps: Tensor | int) -> None:
        n = int(steps)  # counted on the CPU: no wait for the device
        share = 1 - min(decay, (1 + n) / (10 + n))
        for average, weight in zip(averages, weights, strict=True):
            average.lerp_(weight, share)

    return AveragedModel(model, multi_avg_fn=update)
