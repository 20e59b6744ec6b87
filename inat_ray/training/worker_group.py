"""Data-parallel training: a job's epochs in the workers of Ray Train's TorchTrainer.

Starting a group of workers takes seconds (each imports PyTorch and joins the process group), so
a group outlives its job: it waits for orders, and an order is one epoch of a job. The workers of
one trial of a sweep then train the next.

A lost worker is replaced here: Ray Train starts the whole group anew (`_start` has its settings),
the new workers take the outstanding order from the `Exchange` and repeat its epoch from the
checkpoint before it, and `_await` gives up after too many attempts.
"""

import os
import threading
from dataclasses import dataclass
from typing import Any, Self
from uuid import uuid4

import ray
import ray.train
import torch
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.train.v2._internal.execution.callback import ControllerCallback

from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.config.resources import Resources
from inat_ray.storage.place import Place
from inat_ray.training.exchange import Exchange, Status
from inat_ray.training.loop import Job, TrainedEpoch, Worker
from inat_ray.training.machine import stand_back
from inat_ray.training.ranks import Ranks

TRAIN_SETTINGS = {
    # How long a finished or dead worker may go unnoticed; the default is 2 s.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1.0",
    # It costs a process for each group, and our workers resume from the last epoch in any case.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # The run log is the record of what happens.
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    # On a busy machine a group takes a minute to start.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",
}

SECONDS_BETWEEN_CHECKS = 1.0
"""How often a waiting driver checks whether its workers are still worth waiting for."""

SECONDS_TO_END = 5.0
"""How long workers may take to end by themselves before they are killed."""

START_FAILURES = 10
"""How often, in a group's life, workers may die before they take an order."""


@dataclass(frozen=True)
class Refused:
    """The answer to an order that would fail again, because the user made a mistake."""

    message: str


class _TellController(ControllerCallback):
    """Gives the driver a handle of Ray Train's controller, which Ray Train itself does not."""

    def __init__(self, exchange: Any) -> None:
        self._exchange = exchange

    def after_controller_start(self, train_run_context: Any) -> None:
        self._exchange.controller_is.remote(ray.get_runtime_context().current_actor)


class WorkerGroup:
    """An engine of several processes, on the driver's side; it starts with its first epoch.

    As a context it closes the group, at once after an error.
    """

    def __init__(self, resources: Resources, *, storage: Place) -> None:
        """`storage`: a place that all workers see; Ray Train makes a folder there for a while."""
        os.environ.update(TRAIN_SETTINGS)
        self.resources = resources
        self._storage, self._folder = storage, f"workers-{uuid4().hex[:8]}"
        self._exchange: Any = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self.close(at_once=error is not None)

    def epoch(self, job: Job, *, epochs_done: int, resume_from: Place | None) -> TrainedEpoch:
        """Does what `Engine.epoch` says; workers that die are replaced, and the epoch repeated.

        Raises UserError if the job cannot be done as it is, and RunFailedError if its workers died
        or failed more than `resources.max_failures` times. Either closes the group.
        """
        if self._thread is None:
            self._start()
        order = {"job": job, "epochs_done": epochs_done, "resume_from": resume_from}
        number = ray.get(self._exchange.give.remote(order))
        try:
            answer = self._await(number)
        except BaseException:
            self.close(at_once=True)
            raise
        if isinstance(answer, Refused):
            self.close(at_once=True)
            raise UserError(answer.message)
        assert isinstance(answer, TrainedEpoch)
        return answer

    def close(self, *, at_once: bool = False) -> None:
        """Ends the workers and frees their resources.

        Workers that are still starting cannot be ended before they are up: they end then, and this
        returns after `SECONDS_TO_END` all the same. All end with the driver's process.
        """
        if self._thread is None:
            return
        if not at_once:
            ray.get(self._exchange.give.remote(None))
            self._thread.join(timeout=SECONDS_TO_END)
        left = self._storage / self._folder
        reaper = threading.Thread(
            target=_reap, args=(self._thread, self._exchange, left), daemon=True
        )
        reaper.start()
        reaper.join(timeout=SECONDS_TO_END)
        self._thread = None

    def _start(self) -> None:
        self._exchange = ray.remote(Exchange).options(num_cpus=0).remote()
        self._error = None
        self._thread = threading.Thread(target=self._fit, args=(self._trainer(),), daemon=True)
        self._thread.start()

    def _trainer(self) -> TorchTrainer:
        gpus = int(self.resources.gpus_per_worker or 0)
        return TorchTrainer(
            _work,
            train_loop_config={
                "exchange": self._exchange,
                "threads": self.resources.cpus_per_worker,
                "niceness": self.resources.niceness,
            },
            # Two ranks on one device are an error of NCCL's, and without GPUs there is gloo.
            torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
            scaling_config=ray.train.ScalingConfig(
                num_workers=self.resources.workers_per_trial,
                use_gpu=bool(gpus),
                resources_per_worker={"CPU": self.resources.cpus_per_worker}
                | ({"GPU": gpus} if gpus else {}),
                accelerator_type=self.resources.accelerator_type,
            ),
            run_config=ray.train.RunConfig(
                name=self._folder,
                storage_path=self._storage.address,
                # `_await` counts failures by order, since a group may live for a thousand orders.
                # It does not see workers that die before they take one: those are limited here.
                failure_config=ray.train.FailureConfig(
                    max_failures=-1,
                    controller_failure_limit=START_FAILURES,  # type: ignore[call-arg]
                ),
                callbacks=[_TellController(self._exchange)],  # type: ignore[list-item]
            ),
        )

    def _fit(self, trainer: TorchTrainer) -> None:
        try:
            trainer.fit()
        except BaseException as error:
            self._error = error  # `_await` raises it on the driver's own thread

    def _await(self, number: int) -> Any:
        assert self._thread is not None
        while True:
            status: Status = ray.get(
                self._exchange.status.remote(number, seconds=SECONDS_BETWEEN_CHECKS)
            )
            if status.answer is not None:
                return status.answer
            if status.attempts > self.resources.max_failures + 1:
                raise RunFailedError(
                    f"{status.attempts - 1} attempts at the epoch failed:"
                    f" {status.error or 'a worker process died'}"
                )
            if not self._thread.is_alive():
                raise RunFailedError(f"the workers ended: {self._error}")


def _reap(training: threading.Thread, exchange: Any, left: Place) -> None:
    """Ends workers in the middle of whatever they are doing, and removes what they leave."""
    while training.is_alive():
        controller = ray.get(exchange.controller.remote())
        if controller is not None:
            controller.abort.remote()
        training.join(timeout=SECONDS_BETWEEN_CHECKS)
    ray.kill(exchange)
    left.remove()


def _work(config: dict[str, Any]) -> None:
    """Runs a worker: takes orders until there are none."""
    exchange = config["exchange"]
    torch.set_num_threads(config["threads"])
    stand_back(config["niceness"])
    context = ray.train.get_context()
    ranks = Ranks(rank=context.get_world_rank(), world_size=context.get_world_size())
    worker = Worker(get_device(), ranks=ranks)
    number = 0
    while True:
        try:
            number, order = ray.get(exchange.take.remote(after=number, rank=ranks.rank))
            if order is None:
                return
            done = worker.epoch(**order)
        except UserError as error:
            ray.get(exchange.answer.remote(number, Refused(str(error))))
            continue
        except Exception as error:
            ray.get(exchange.note_error.remote(f"{type(error).__name__}: {error}"))
            raise
        if ranks.is_first:
            ray.get(exchange.answer.remote(number, done))
