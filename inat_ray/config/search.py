"""The search over an experiment's settings, as a person writes it."""

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    model_validator,
)

from inat_ray.config.metrics import METRICS, Goal, MetricName
from inat_ray.config.settings import Settings

MAX_TRIALS = 100_000
"""Of a search; a grid with more points than this is refused."""


class MetricConfig(Settings):
    """What the search optimizes."""

    name: MetricName = "val_accuracy"
    goal: Goal = "maximize"
    """`minimize` for val_loss, else `maximize`."""

    @model_validator(mode="after")
    def _goal_suits_the_metric(self) -> "MetricConfig":
        wanted = METRICS[self.name].goal
        if self.goal != wanted:
            raise ValueError(f"goal of {self.name} must be {wanted}")
        return self


class EarlyStopping(Settings):
    """Which trials end before their last epoch.

    asha: asynchronous successive halving (Li et al., MLSys 2020) by stopping: a trial at a rung
    goes on if it is among the best 1/reduction_factor of those that have been there so far.
    asha_promotion: the paper's own form. A trial at a rung is paused, and goes on when it is among
    the best 1/reduction_factor; its process takes another trial meanwhile.
    median: a trial ends whose best is below the median of the others' means so far (Golovin et
    al., KDD 2017).
    """

    kind: Literal["asha", "asha_promotion", "median", "none"] = "asha"
    min_epochs: int = Field(1, ge=1)
    """Epochs that every trial gets: the first rung."""
    reduction_factor: int = Field(3, ge=2)
    """Rungs lie at min_epochs x reduction_factor^k."""
    min_trials: int = Field(5, ge=1)
    """median: trials that must have been at an epoch before one is stopped there."""


class Confirm(Settings):
    """The best trials of a search, trained again with other seeds, so that luck does not win."""

    top: int = Field(3, ge=1, le=100)
    """How many configurations."""
    seeds: int = Field(3, ge=2, le=100)
    """Trainings of each."""


UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _seconds(value: Any) -> Any:
    """'90m' as seconds; what is no such text stays as it is."""
    if isinstance(value, str) and value[-1:] in UNITS:
        try:
            return float(value[:-1]) * UNITS[value[-1]]
        except ValueError:
            return value
    return value


class SearchConfig(Settings):
    """A sweep over parts of the experiment; the first budget that is spent ends it."""

    method: Literal["random", "bayes", "grid", "ablation"] = "random"
    """grid: every point of a finite space once, the parameter listed last varying fastest.
    ablation: the experiment as it is, and every value of every parameter with all else as it is;
    each with every `seed`, where that is a parameter."""
    metric: MetricConfig = MetricConfig()
    trials: int | None = Field(None, ge=1, le=MAX_TRIALS)
    """Budget. None: 10 for random and bayes, every point for grid and ablation."""
    epochs: int | None = Field(None, ge=1)
    """Budget: epochs of all trials together."""
    time: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_seconds)] = None
    """Budget: seconds of the search, or text like 90m, 8h, 2d. Pauses between a run and its
    resumption do not count. Trials end after the epoch that they are in."""
    target: float | None = None
    """Budget: the search ends when a trial's metric is as good as this."""
    parameters: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Dotted name of a setting -> its distribution, in the notation of a W&B sweep."""
    first: list[dict[str, Any]] = Field(default_factory=list)
    """Points to try first: dotted name -> value; what is not named is as in the experiment."""
    early_stopping: EarlyStopping = EarlyStopping()
    confirm: Confirm | None = None

    @model_validator(mode="after")
    def _target_can_be_met(self) -> "SearchConfig":
        metric, target = METRICS[self.metric.name], self.target
        if target is not None and metric.is_share and not 0 < target <= 1:
            raise ValueError(f"target {target}: {metric.name} is a share: above 0, and 1 at most")
        if target is not None and target < 0:
            raise ValueError(f"target {target}: {metric.name} is never below 0")
        return self

    @property
    def is_exhaustive(self) -> bool:
        """Whether every point is tried, in an order that is known beforehand."""
        return self.method in ("grid", "ablation")
