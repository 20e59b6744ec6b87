"""One trial of a sweep in a process that is reused from trial to trial."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from ray import tune

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import explain
from inat_ray.config.space import with_parameters
from inat_ray.data.dataset import DataSet
from inat_ray.training.checkpoint import save_checkpoint
from inat_ray.training.fit import Fit
from inat_ray.tuning.run_log import JSON

KEPT_CHECKPOINTS = 2
"""The newest, and the one before it, which the log may still name when a process dies."""


@dataclass(frozen=True)
class TrialContext:
    """What all trials of a sweep share; small enough to send to each process."""

    experiment: Experiment
    data: DataSet
    """Pickles as the pack's path and the split; the pixels are mapped from the node's disk."""
    run: Path
    device: torch.device
    threads: int


def trial_experiment(base: Experiment, *, parameters: dict[str, JSON], seed: int) -> Experiment:
    """The resolved experiment of one trial.

    Raises UserError where values that are allowed one by one do not go together.
    """
    try:
        resolved = with_parameters(base, parameters)
    except ValidationError as error:
        raise UserError(explain(error)) from None
    return resolved.model_copy(update={"seed": seed})


class Trial(tune.Trainable):
    """`Fit` for Ray Tune: a step is an epoch, and the checkpoint is on disk before it is told.

    It never ends itself: the scheduler, which has the log, decides after every epoch.
    """

    def setup(self, config: dict[str, Any], context: TrialContext) -> None:  # type: ignore[override]
        torch.set_num_threads(context.threads)
        self.context = context
        self.fit: Fit | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        # The next trial is built in its first step: an error there fails that trial alone,
        # while an error here would end the search. The old one's memory goes first.
        self.fit = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True

    def step(self) -> dict[str, Any]:
        if self.fit is None:
            self.fit = Fit(self._experiment(), self.context.data, device=self.context.device)
        metrics = self.fit.epoch()
        return {"metrics": asdict(metrics), "checkpoint": self._save()}

    def _experiment(self) -> Experiment:
        return trial_experiment(
            self.context.experiment,
            parameters=json.loads(self.config["parameters"]),
            seed=self.config["seed"],
        )

    def _save(self) -> str:
        """Writes the state after this epoch; returns its path relative to the run folder."""
        assert self.fit is not None
        folder = self.context.run / "checkpoints" / self.config["trial_id"]
        path = folder / f"epoch_{self.fit.epochs_done:04d}.pt"
        save_checkpoint(path, self.fit.state_dict())
        for old in sorted(folder.glob("epoch_*.pt"))[:-KEPT_CHECKPOINTS]:
            old.unlink()
        return str(path.relative_to(self.context.run))
