"""Carries out a training run: a checkpoint after every epoch, and the best model."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import torch

from inat_ray.config.code import Code, allow, allowed
from inat_ray.config.epoch import EpochMetrics
from inat_ray.config.experiment import Experiment
from inat_ray.data.dataset import DataSet
from inat_ray.storage.place import Place
from inat_ray.training.checkpoint import (
    checkpoint_readable,
    load_checkpoint,
    model_writer,
    save_checkpoint,
)
from inat_ray.training.device import free_cache, in_background, on_host
from inat_ray.training.fit import Fit
from inat_ray.training.ranks import ALONE, Ranks
from inat_ray.training.snapshot import (
    Pictures,
    augmented_pictures,
    take_snapshot,
    write_snapshot,
)


@dataclass(frozen=True)
class Job:
    """One training run and the places of its files: all that a process needs to continue it."""

    experiment: Experiment
    data: DataSet
    checkpoints: Place
    """A folder of the job's own. Every epoch adds a checkpoint, and none is removed here: whoever
    keeps the log knows which one is still needed."""
    keeps_model: bool = False
    """Whether the model of an epoch that is the best so far, or the last, is kept."""
    snapshot: Place | None = None
    """The file of the best epoch's snapshot, for TensorBoard and the report; None: no snapshot."""
    code: tuple[Code, ...] = field(default_factory=allowed)
    """The code of networks of one's own that the process which gives the job may run: whichever
    takes it may, too."""

    def model(self, epoch: int) -> Place:
        """Returns the file of an epoch's model. Each epoch has its own, so that an epoch that is
        lost before it is logged does not overwrite the weights that the log names."""
        return model_in(self.checkpoints, epoch)


def model_in(checkpoints: Place, epoch: int) -> Place:
    return checkpoints / f"model_{epoch:04d}.safetensors"


@dataclass(frozen=True)
class TrainedEpoch:
    """A finished epoch, whose files are written."""

    metrics: EpochMetrics
    checkpoint: Place
    improved: bool
    """Whether it is the best so far, or the last where that one is kept."""


class Training:
    """Trains a job epoch by epoch; this process may be one rank of several.

    State: `fit`, and `best`, the best epoch's score so far (higher is better). Both are in each
    checkpoint, so a job continues from one as if it had never stopped. Where it takes long to write
    an epoch's files, the next one's first steps are taken meanwhile; nobody hears of them before.
    """

    def __init__(
        self,
        job: Job,
        *,
        device: torch.device,
        ranks: Ranks = ALONE,
        resume_from: Place | None = None,
        progress: bool = False,
    ) -> None:
        self.job, self.ranks = job, ranks
        allow(*job.code)
        self.fit = Fit(job.experiment, job.data, device=device, ranks=ranks, progress=progress)
        self.best = float("-inf")
        self._augmented: Pictures | None = None
        self._error: Exception | None = None
        self._seconds_of_files = 0.0
        if resume_from is not None:
            state = load_checkpoint(resume_from, device)
            with checkpoint_readable(resume_from):
                self.fit.load_state_dict(state["fit"])
                self.best = float(state["best"])

    def is_at(self, job: Job, epochs_done: int) -> bool:
        """Returns whether the next epoch here is the one after `epochs_done` of `job`."""
        same = self.job.checkpoints == job.checkpoints
        return same and self.fit.epochs_done == epochs_done

    def epoch(self) -> TrainedEpoch:
        """Trains for an epoch; on the first rank, its files are written before this returns."""
        if self._error is not None:
            raise self._error
        metrics = self.fit.epoch()
        score = metrics.score(self.job.experiment.search.metric.name)
        keeps_last = self.job.experiment.recipe.keep == "last"
        improved = score > (float("-inf") if keeps_last else self.best)  # never true of NaN
        if improved:
            self.best = score
        place = self.job.checkpoints / f"epoch_{metrics.epoch:04d}.pt"
        writes = self._files_of_best() if improved else []
        if self.ranks.is_first:
            state = {"fit": self.fit.state_dict(), "best": self.best}
            if self._goes_on_meanwhile(metrics):
                writes.append(partial(save_checkpoint, place, on_host(state)))
                self._seconds_of_files = self._train_during(writes)
            else:
                writes.append(partial(save_checkpoint, place, state))
                self._seconds_of_files = seconds_of(writes)
        return TrainedEpoch(metrics, place, improved=improved)

    def _goes_on_meanwhile(self, metrics: EpochMetrics) -> bool:
        """Returns whether steps of the next epoch are taken while the files of this are written.

        Only if the last ones took longer than a step, as on a GPU or with a storage that is far
        away: so no more than a step is lost with a training that is stopped here, and where writing
        is fast, nothing is copied. Several ranks would have to agree on the number of steps.
        """
        is_last = metrics.epoch == self.job.experiment.recipe.epochs or metrics.diverged
        step = metrics.seconds / self.fit.inputs.batches.steps
        return self._seconds_of_files > step and not is_last and self.ranks.world_size == 1

    def _train_during(self, writes: Sequence[Callable[[], None]]) -> float:
        """Takes steps until all is written; returns how long that took, in seconds."""
        written = in_background(partial(seconds_of, writes), self.fit.device)
        try:
            self.fit.advance(until=written.done)
        except Exception as error:
            self._error = error  # the next epoch's: whoever waits hears of this one first
        return written.result()

    def _files_of_best(self) -> list[Callable[[], None]]:
        """Returns what writes the best epoch's snapshot and model.

        All ranks come here: their metrics are equal.
        """
        writes: list[Callable[[], None]] = []
        if self.job.snapshot is not None:
            if self._augmented is None:
                self._augmented = augmented_pictures(self.fit)
            snapshot = take_snapshot(self.fit, augmented=self._augmented)
            writes.append(partial(write_snapshot, self.job.snapshot, snapshot))
        calibrates = self.job.keeps_model and self.job.experiment.recipe.calibrate
        temperature = self.fit.temperature() if calibrates else 1.0
        if self.ranks.is_first and self.job.keeps_model:
            name = self.job.checkpoints.last_name
            write = model_writer(self.fit, training=name, temperature=temperature)
            writes.append(partial(write, self.job.model(self.fit.epochs_done)))
        return writes


def seconds_of(writes: Sequence[Callable[[], None]]) -> float:
    """Does all of it, and returns how long it took."""
    begin = time.perf_counter()
    for write in writes:
        write()
    return time.perf_counter() - begin


class Engine(Protocol):
    """Trains epochs of jobs, one after another: this process, or a group of workers."""

    def epoch(self, job: Job, *, epochs_done: int, resume_from: Place | None) -> TrainedEpoch:
        """Trains the epoch after `epochs_done`; from a checkpoint unless it is the first."""
        ...


class Worker:
    """An engine in this process; it keeps its last job ready to continue."""

    def __init__(
        self, device: torch.device, *, ranks: Ranks = ALONE, progress: bool = False
    ) -> None:
        self._device, self._ranks, self._progress = device, ranks, progress
        self._training: Training | None = None

    def epoch(self, job: Job, *, epochs_done: int, resume_from: Place | None) -> TrainedEpoch:
        training = self._training
        if training is None or not training.is_at(job, epochs_done):
            self._training = training = None  # the old one's memory goes first
            free_cache(self._device)
            self._training = training = Training(
                job,
                device=self._device,
                ranks=self._ranks,
                resume_from=resume_from,
                progress=self._progress,
            )
        return training.epoch()


def train_to_the_end(
    job: Job, engine: Engine, *, epochs_done: int = 0, resume_from: Place | None = None
) -> Iterator[TrainedEpoch]:
    """Yields the job's epochs after `epochs_done`; stops early on a NaN or infinite loss."""
    for epoch in range(epochs_done, job.experiment.recipe.epochs):
        done = engine.epoch(job, epochs_done=epoch, resume_from=resume_from)
        yield done
        if done.metrics.diverged:
            return
        resume_from = done.checkpoint
