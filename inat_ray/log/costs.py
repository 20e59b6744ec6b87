"""The costs of a trial: its network's size, its memory, its time. A new one is one more entry here.

Whatever lists them (leaderboard, report, trials.parquet, `runs`) asks the entries.
"""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from inat_ray.log.history import TrialHistory


@dataclass(frozen=True)
class Cost:
    """A cost of a trial that its log tells."""

    name: str
    """Its column in tables for programs, and its key in JSON."""
    label: str
    """Its name in a column's head."""
    meaning: str
    """What the number is, in one phrase."""
    unit: Literal["count", "bytes", "ms"]
    of: Callable[[TrialHistory], float | None]
    """None where the log does not tell."""


def images_per_second(trial: TrialHistory) -> float | None:
    """Returns the median over the epochs after the first, which warms up; None without an epoch."""
    steady = trial.epochs[1:] or trial.epochs
    return statistics.median(epoch.images_per_second for epoch in steady) if steady else None


def _ms_per_image(trial: TrialHistory) -> float | None:
    speed = images_per_second(trial)
    return 1000 / speed if speed else None


def _peak_memory(trial: TrialHistory) -> int | None:
    known = (e.peak_memory for e in trial.epochs if e.peak_memory is not None)
    return max(known, default=None)


COSTS = {
    cost.name: cost
    for cost in (
        Cost(
            name="model_parameters",
            label="params",
            meaning="parameters of the network, frozen ones included",
            unit="count",
            of=lambda trial: trial.epochs[-1].model_parameters if trial.epochs else None,
        ),
        Cost(
            name="macs",
            label="MACs",
            meaning="multiply-accumulates of a forward pass of one image, attention counted",
            unit="count",
            of=lambda trial: trial.epochs[-1].macs if trial.epochs else None,
        ),
        Cost(
            name="peak_memory",
            label="memory",
            meaning="most bytes of GPU memory in use at once; none on a CPU",
            unit="bytes",
            of=_peak_memory,
        ),
        Cost(
            name="ms_per_image",
            label="ms/image",
            meaning="milliseconds of training an image, with all workers of the trial together:"
            " the median over the epochs after the first, without evaluation",
            unit="ms",
            of=_ms_per_image,
        ),
    )
}


def costs_of(trial: TrialHistory) -> dict[str, float]:
    """Returns what is known of a trial's costs, by name."""
    values = {name: cost.of(trial) for name, cost in COSTS.items()}
    return {name: value for name, value in values.items() if value is not None}


def telling_costs(trials: Iterable[TrialHistory]) -> list[Cost]:
    """Returns the costs in which these trials differ, so that a narrow table shows no others."""
    known = [costs_of(trial) for trial in trials]
    return [cost for cost in COSTS.values() if len({each.get(cost.name) for each in known}) > 1]
