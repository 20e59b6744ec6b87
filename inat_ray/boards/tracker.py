"""What an experiment tracker has to do, whichever it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from inat_ray.log.records import TrialState

Scalar = float | int | bool | str | None


@dataclass(frozen=True)
class TrackedRun:
    """A run as trackers know it: a trial, or the whole that trials belong to."""

    key: str
    """Unique in the sweep."""
    name: str
    kind: str
    """`sweep`, `train`, or a trial's purpose."""
    sweep: str
    """Name of the whole; no other sweep's is the same."""
    parent: str | None
    """Key of the whole; None: this is it."""
    parameters: Mapping[str, Scalar]
    """By dotted name; lists and mappings as JSON."""
    started: float
    """Seconds since 1970."""

    @property
    def identity(self) -> str:
        """The same however often the sweep is resumed, and unique among all sweeps' runs."""
        return f"{self.sweep}-{self.key}"


class Tracker(Protocol):
    """Adapter of one tracker. Whatever a method raises is an outage: it is called again later."""

    title: str

    def open(self, run: TrackedRun) -> int:
        """Begins the run, or goes on with it; the last step that it holds already, 0 if none."""

    def log(self, key: str, values: Mapping[str, float], *, step: int, time: float) -> None:
        """Adds scalars to an open run; `time` in seconds since 1970."""

    def summarize(self, key: str, values: Mapping[str, float | str]) -> None:
        """Sets what stands for an open run as a whole."""

    def close(self, key: str, *, state: TrialState, time: float) -> None:
        """Ends an open run, or lets it rest: it may be opened again."""

    def address(self) -> str:
        """Where a person finds what was told."""
