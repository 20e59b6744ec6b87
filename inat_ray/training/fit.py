"""The state of a training run: built, advanced epoch by epoch, saved and restored."""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from inat_ray.config.epoch import EpochMetrics
from inat_ray.config.experiment import Experiment
from inat_ray.config.metrics import METRICS, Tally
from inat_ray.config.model import ModuleConfig
from inat_ray.data.augment import Normalize, generator
from inat_ray.data.batches import Batch, Plan, TrainingBatches
from inat_ray.data.dataset import DataSet
from inat_ray.models.build import build_model, pretrained_weights, structure_of
from inat_ray.models.freeze import freezing_of, set_trained, training_mode
from inat_ray.models.layers import Layer, layers_of
from inat_ray.training.average import WeightAverage
from inat_ray.training.calibration import fitted_temperature
from inat_ray.training.device import (
    autocast,
    forget_peak_memory,
    peak_memory,
    resolve_device,
    synchronize,
    tune_process,
)
from inat_ray.training.evaluation import Evaluation, evaluate, lay_out
from inat_ray.training.features import cut_of, pays, views_in_all
from inat_ray.training.graph import StepGraph
from inat_ray.training.inputs import open_inputs
from inat_ray.training.loss import build_loss
from inat_ray.training.parameter_groups import build_optimizer, portable
from inat_ray.training.ranks import ALONE, Ranks, synchronizes_batch_norm
from inat_ray.training.schedule import learning_rates
from inat_ray.training.sums import Sums

DROPOUT = 1
"""Keeps the random numbers of (seed, epoch, rank) apart from those of augmentation, (seed, epoch).
Not 0: a key that ends in zeros gives the numbers of the shorter key."""


class Fit:
    """The state of one training run, of which this process may be one rank of several.

    State: `model`, `optimizer`, `average` (the averaged weights, if the recipe has them) and
    `epochs_done`. Everything random follows from the seed and the epoch's number, so a restored
    state continues bit for bit on a CPU. `_steps` are those that an epoch has yet to take, if one
    has begun.
    """

    def __init__(
        self,
        experiment: Experiment,
        data: DataSet,
        *,
        device: torch.device | None = None,
        ranks: Ranks = ALONE,
        progress: bool = False,
    ) -> None:
        """`progress`: shows the progress of downloads and features before the first epoch."""
        self.experiment, self.data, self.ranks = experiment, data, ranks
        self.device = device or resolve_device(experiment.device)
        tune_process(self.device)
        recipe, classes = experiment.recipe, len(data.classes)
        weights = pretrained_weights(experiment.model, progress=progress)
        self.mean, self.std = (weights.mean, weights.std) if weights else (data.mean, data.std)
        model = build_model(experiment, classes=classes, weights=weights)
        structure = structure_of(model, experiment, classes=classes, count_macs=True)
        self._freezing = freezing_of(model, experiment.model, structure)
        views = views_in_all(experiment, data.split)
        cut = cut_of(model, experiment, structure, views=views)
        self.model = self._on_device(model)
        self.layers = layers_of(self.model, structure)
        self._parameters = sum(parameter.numel() for parameter in model.parameters())
        self._macs = sum(structure.macs)
        self.inputs = open_inputs(
            experiment,
            data,
            model=self.model,
            cut=cut if cut and pays(cut, views=views) else None,
            normalize=Normalize(self.mean, self.std, self.device),
            ranks=ranks,
            progress=progress,
        )
        # On GPUs a step costs launches, of which there would be more.
        sharing = ranks if self.device.type == "cpu" else ALONE
        self.optimizer = build_optimizer(recipe, self._layers_of_the_end(), ranks=sharing)
        self.average = self._average()
        self.epochs_done = 0
        self.validated: Evaluation | None = None
        """The evaluation after the last epoch; None during an epoch."""
        self._loss = build_loss(
            recipe, labels=self.inputs.batches.labels, classes=classes, device=self.device
        )
        self._sums = Sums(classes, self.device)
        self._prepared: tuple[int, list[bool]] | None = None
        self._forward: nn.Module = self.model
        self._graph: StepGraph | None = None
        self._steps: Iterator[None] | None = None
        self._seconds = 0.0

    @property
    def evaluated_model(self) -> nn.Module:
        """Returns the averaged weights if the recipe has them, else the trained ones."""
        return self.model if self.average is None else self.average.module

    def epoch(self) -> EpochMetrics:
        """Trains on every training image once, then evaluates the validation images."""
        self.advance()
        self._steps = None
        begin = time.perf_counter()
        trained = self._trained_tally()
        training = self._seconds + time.perf_counter() - begin
        lr = self._rates(self.epochs_done)[-1]
        self.epochs_done += 1
        self.validated = self.validate()
        tally = self.validated.tally
        return EpochMetrics(
            epoch=self.epochs_done,
            train_loss=trained.loss,
            train_accuracy=trained.accuracy,
            **{name: metric.compute(tally) for name, metric in METRICS.items()},
            lr=lr,
            seconds=self._seconds + time.perf_counter() - begin,
            images_per_second=trained.images / training,
            peak_memory=peak_memory(self.device),
            model_parameters=self._parameters,
            macs=self._macs,
        )

    def advance(self, until: Callable[[], bool] | None = None) -> None:
        """Takes steps of the next epoch until `until` holds after one, or there are no more.

        The epoch goes on from there when this or `epoch` is called again.
        """
        begin = time.perf_counter()
        if self._steps is None:
            self._begin_epoch()
        assert self._steps is not None
        with nullcontext() if self._graph is None else self._graph.stream():
            for _ in self._steps:
                if until is not None:
                    synchronize(self.device)  # what a GPU has still to do would not be timed
                    if until():
                        break
        self._seconds += time.perf_counter() - begin

    def validate(self) -> Evaluation:
        """Evaluates the validation images."""
        return evaluate(
            self.inputs.part(self.evaluated_model),
            self.inputs.validation,
            classes=len(self.data.classes),
            recipe=self.experiment.recipe,
            ranks=self.ranks,
        )

    def temperature(self) -> float:
        """Returns the temperature that calibrates what was validated; all ranks come here."""
        assert self.validated is not None
        found = self.validated
        return fitted_temperature(
            found.probabilities, found.labels, device=self.device, ranks=self.ranks
        )

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that the next epoch depends on; frozen weights are left out."""
        moving = self._layers_of_the_end()
        return {
            "epochs_done": self.epochs_done,
            "model": {
                key: value
                for key, value in self.model.state_dict().items()
                if any(layer is not None and layer.owns(key) for layer in moving)
            },
            "optimizer": portable(self.optimizer.state_dict()),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a state of the same experiment on the same data."""
        self.epochs_done = state["epochs_done"]
        self._steps = None
        self._prepared = None  # a graph is captured anew: the optimizer's state gets other tensors
        _, unexpected = self.model.load_state_dict(state["model"], strict=False)
        assert not unexpected
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def _begin_epoch(self) -> None:
        epoch = self.epochs_done
        self.validated = None  # with many classes and images it takes memory
        forget_peak_memory(self.device)
        # Dropout draws from the global generator: seeded here, it follows from the epoch alone.
        key = (self.experiment.seed, epoch, self.ranks.rank, DROPOUT)
        torch.manual_seed(generator(*key).initial_seed())
        self.prepare(epoch)
        self._sums.reset()
        self._seconds = 0.0
        self._steps = self._eager_steps(epoch) if self._graph is None else self._graph_steps(epoch)

    def _eager_steps(self, epoch: int) -> Iterator[None]:
        batches = self.inputs.batches.epoch(epoch)
        for lr, batch in zip(self._rates(epoch), batches, strict=True):
            self._set_lr(lr)
            self.step(batch, self._sums)
            yield

    def _graph_steps(self, epoch: int) -> Iterator[None]:
        batches, graph = self.inputs.batches, self._graph
        assert isinstance(batches, TrainingBatches)
        assert graph is not None
        rates = torch.tensor(self._rates(epoch), device=self.device)
        for lr, plan in zip(rates.unbind(), batches.plans(epoch), strict=True):
            graph.run(self._planned_step, plan, lr)
            yield

    def _trained_tally(self) -> Tally:
        """Ends an epoch's training; the tally is over all ranks."""
        self.ranks.average_statistics(self.model)
        if self.average is not None:
            self.average.take_statistics()
        return self._sums.tally(self.ranks)

    def _rates(self, epoch: int) -> list[float]:
        return learning_rates(self.experiment.recipe, epoch, steps=self.inputs.batches.steps)

    def _planned_step(self, plan: Plan, lr: Tensor) -> None:
        """Trains a step from its plan. This is what a graph captures."""
        batches = self.inputs.batches
        assert isinstance(batches, TrainingBatches)
        self._set_lr(lr)
        self.step(batches.batch(plan), self._sums)

    def prepare(self, epoch: int) -> None:
        """Freezes what does not train in `epoch`, counted from 0. Call it before its steps.

        Steps of other shapes than the last epoch's are captured anew.
        """
        trained = self._trained_in(epoch)
        side = self.experiment.side_in(epoch)
        if (side, trained) != self._prepared:
            self._prepared = side, trained
            set_trained(self.layers, trained)
            # Only now: DistributedDataParallel looks once which parameters have gradients.
            self._forward = self.ranks.parallel(
                self.inputs.part(self.model), may_skip=self._decides_anew
            )
            if self._can_be_captured():
                self._graph = StepGraph(self.optimizer)
        self._forward.train()
        training_mode(self.model, self.layers, trained)

    def step(self, batch: Batch, sums: Sums) -> None:
        """Takes one optimizer step. Nothing here waits for the device."""
        recipe = self.experiment.recipe
        with autocast(recipe, self.device):
            logits = self._forward(lay_out(batch.images, recipe))
        losses = self._loss(logits, batch)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self.ranks.mean_loss(losses, images=batch.total))
        if recipe.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), recipe.gradient_clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        sums.add(losses, logits, batch.labels)

    def _can_be_captured(self) -> bool:
        """Returns whether a step touches only the GPU: one worker, and all images on the GPU."""
        batches = self.inputs.batches
        return (
            self.experiment.recipe.cuda_graph
            and not self._decides_anew
            and self.device.type == "cuda"
            and self.ranks.world_size == 1
            and isinstance(batches, TrainingBatches)
            and batches.images.resident is not None
        )

    @property
    def _decides_anew(self) -> bool:
        """Returns whether each step may compute something else, as Python of one's own may."""
        return isinstance(self.experiment.model, ModuleConfig)

    def _set_lr(self, lr: float | Tensor) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["lr_share"]

    def _trained_in(self, epoch: int) -> list[bool]:
        return self._freezing.trained(epoch)

    def _layers_of_the_end(self) -> list[Layer | None]:
        """Returns the layers that train by the last epoch, and None in place of the others."""
        trained = self._trained_in(self.experiment.recipe.epochs - 1)
        return [
            layer if trains else None for layer, trains in zip(self.layers, trained, strict=True)
        ]

    def _average(self) -> WeightAverage | None:
        decay = self.experiment.recipe.ema_decay
        if decay is None:
            return None
        trained = [p for layer in self._layers_of_the_end() if layer for p in layer.parameters]
        return WeightAverage(self.model, decay=decay, trained=trained)

    def _on_device(self, model: nn.Module) -> nn.Module:
        recipe = self.experiment.recipe
        if synchronizes_batch_norm(recipe, device=self.device, world_size=self.ranks.world_size):
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        model = model.to(self.device)
        if recipe.channels_last:
            model = model.to(memory_format=torch.channels_last)
        return model
