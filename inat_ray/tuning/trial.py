"""One trial of a sweep in a process that is reused from trial to trial."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import torch
from ray import tune

from inat_ray.config.experiment import Experiment
from inat_ray.config.space import trial_experiment
from inat_ray.data.dataset import DataSet
from inat_ray.run.folder import CHECKPOINTS, snapshot_in
from inat_ray.storage.place import Place
from inat_ray.training.distributed import WorkerGroup
from inat_ray.training.loop import Job, TrainedEpoch, Worker
from inat_ray.tuning.cluster import TrialResources


@dataclass(frozen=True)
class TrialContext:
    """What all trials of a sweep share; small enough to send to each process."""

    experiment: Experiment
    data: DataSet
    """Pickles as the pack's path and the split; the pixels are mapped from the node's disk."""
    shared: Place
    """Of the run: see `RunFolder.shared`."""
    resources: TrialResources


class Trial(tune.Trainable):
    """A job for Ray Tune: a step is an epoch, and the checkpoint is on disk before it is told.

    It never ends itself: the desk, which has the log, decides after every epoch. The engine, this
    process or a group of workers, goes on from trial to trial.
    """

    def setup(self, config: dict[str, Any], context: TrialContext) -> None:  # type: ignore[override]
        self.context = context
        self.engine = _engine(context)
        self.newest: TrainedEpoch | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        # The next trial is built in its first step: an error there fails that trial alone,
        # while an error here would end the search.
        self.newest = None
        return True

    def step(self) -> dict[str, Any]:
        epochs_done, checkpoint = self._stand()
        self.newest = done = self.engine.epoch(
            self._job(), epochs_done=epochs_done, resume_from=checkpoint
        )
        written = done.checkpoint.relative_to(self.context.shared)
        return {"metrics": asdict(done.metrics), "checkpoint": written}

    def cleanup(self) -> None:
        if isinstance(self.engine, WorkerGroup):
            self.engine.close()

    def _stand(self) -> tuple[int, Place | None]:
        """Epochs done and the last one's checkpoint: here, or where the work was begun before."""
        if self.newest is not None:
            return self.newest.metrics.epoch, self.newest.checkpoint
        checkpoint = self.config["checkpoint"]
        return self.config["epochs_done"], self.context.shared / checkpoint if checkpoint else None

    def _job(self) -> Job:
        experiment = trial_experiment(
            self.context.experiment,
            parameters=json.loads(self.config["parameters"]),
            seed=self.config["seed"],
        )
        shared, trial_id = self.context.shared, self.config["trial_id"]
        return Job(
            experiment,
            self.context.data,
            checkpoints=shared / CHECKPOINTS / trial_id,
            snapshot=snapshot_in(shared, trial_id),
        )


def _engine(context: TrialContext) -> Worker | WorkerGroup:
    resources = context.resources
    if resources.workers == 1:
        torch.set_num_threads(resources.cpus)
        return Worker(resources.device)
    return WorkerGroup(
        resources.of_a_group,
        storage=context.shared,
        max_failures=context.experiment.resources.max_failures,
    )
