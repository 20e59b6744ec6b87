"""Experiment trackers: the interface that each implements, and those that an experiment asks for.

A further tracker is one more adapter, and an entry in `check_trackers` and `open_trackers`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.log.records import TrialState
from inat_ray.run.folder import RunFolder

Scalar = float | int | bool | str | None


@dataclass(frozen=True)
class TrackedRun:
    """A run that is logged to a tracker: a trial, or the sweep that the trials belong to."""

    key: str
    """Unique in the sweep."""
    name: str
    kind: str
    """`sweep`, `train`, or a trial's purpose."""
    sweep: str
    """The sweep's name; no other sweep has it."""
    parent: str | None
    """The sweep's key; None for the sweep itself."""
    parameters: Mapping[str, Scalar]
    """By dotted name; lists and mappings as JSON."""
    started: float
    """Seconds since 1970."""

    @property
    def identity(self) -> str:
        """Stays the same if the sweep is resumed; unique among the runs of all sweeps."""
        return f"{self.sweep}-{self.key}"


class Tracker(Protocol):
    """The adapter for one tracker. If a method raises any exception, it will be called again."""

    title: str

    def open(self, run: TrackedRun) -> int:
        """Begins or continues a run; returns the last step that the tracker has of it, or 0."""

    def log(self, key: str, values: Mapping[str, float], *, step: int, time: float) -> None:
        """Adds scalars to an open run; `time` in seconds since 1970."""

    def summarize(self, key: str, values: Mapping[str, float | str]) -> None:
        """Sets values that describe an open run as a whole."""

    def close(self, key: str, *, state: TrialState, time: float) -> None:
        """Ends or pauses an open run: it may be opened again."""

    def address(self) -> str:
        """Returns where, or how, a person finds the runs."""


def check_trackers(experiment: Experiment) -> None:
    """Raises UserError if a tracker is not installed, does not answer, or needs a key.

    It is called before the first trial, and never asks for input.
    """
    tracking = experiment.tracking
    for name in tracking.to:
        if find_spec(name) is None:
            raise UserError(
                f"tracking.to: {name}: is not installed; pip install 'inat_ray[{name}]' brings it"
            )
    # Imported only now: they are large, and not everybody has installed them.
    if "wandb" in tracking.to:
        from inat_ray.boards.wandb_tracker import check_wandb

        check_wandb(tracking.wandb)
    if "mlflow" in tracking.to:
        from inat_ray.boards.mlflow_tracker import check_mlflow

        check_mlflow(tracking.mlflow, name=experiment.name)


def open_trackers(experiment: Experiment, run: RunFolder) -> list[Tracker]:
    """Returns the trackers that `check_trackers` has accepted; nothing is sent to them yet."""
    tracking = experiment.tracking
    trackers: list[Tracker] = []
    if "wandb" in tracking.to:
        from inat_ray.boards.wandb_tracker import WandbTracker

        trackers.append(WandbTracker(tracking.wandb, folder=run.path))
    if "mlflow" in tracking.to:
        from inat_ray.boards.mlflow_tracker import MlflowTracker

        trackers.append(MlflowTracker(tracking.mlflow, name=experiment.name))
    return trackers
