"""The `search` section: what is varied, how, for how long, and what counts as best."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from inat_ray.config.metrics import METRICS, Goal, MetricName
from inat_ray.config.section import Fraction, Section
from inat_ray.search.schedulers import SCHEDULERS, Scheduler
from inat_ray.search.searchers import SEARCHERS, Searcher

if TYPE_CHECKING:
    SearcherName = str  # mypy takes only a list that is written out
    SchedulerName = str
else:
    SearcherName = Literal[tuple(SEARCHERS)]
    SchedulerName = Literal[tuple(SCHEDULERS)]

MAX_TRIALS = 100_000
"""The most trials of a search; a grid with more points is refused."""


def _meanings(entries: Mapping[str, Searcher] | Mapping[str, Scheduler]) -> str:
    return " ".join(f"{name}: {entry.meaning}." for name, entry in entries.items())


class MetricConfig(Section):
    """The number that the search optimizes."""

    name: MetricName = Field(
        "val_accuracy",
        description="Measured on the validation images after each epoch. "
        + " ".join(f"{metric.name}: {metric.meaning}." for metric in METRICS.values()),
    )
    goal: Goal = "maximize"
    """`minimize` for a loss or an error, else `maximize`."""

    @model_validator(mode="after")
    def _goal_suits_the_metric(self) -> "MetricConfig":
        wanted = METRICS[self.name].goal
        if self.goal != wanted:
            raise ValueError(f"goal of {self.name} must be {wanted}")
        return self


class EarlyStopping(Section):
    """The rule by which trials end before their last epoch."""

    kind: SchedulerName = Field("asha_promotion", description=_meanings(SCHEDULERS))
    min_epochs: int = Field(1, ge=1)
    """Epochs that every trial gets; the first rung."""
    reduction_factor: int = Field(3, ge=2)
    """Rungs are at min_epochs x reduction_factor^k epochs."""
    min_trials: int = Field(5, ge=1)
    """median: the number of trials that must have reached an epoch before one is stopped there."""


class Confirm(Section):
    """The best configurations are trained again with other seeds, so that luck does not win.

    Each is trained with one new seed, and the best two of them with the further seeds.
    """

    top: int = Field(5, ge=1, le=100)
    """The number of configurations."""
    seeds: int = Field(3, ge=2, le=100)
    """The number of seeds for each of the best two."""


TIMES = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

NUMBER = r"((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)"

COUNTS = {"K": 10**3, "M": 10**6, "G": 10**9}


def _in_units(units: Mapping[str, int], kind: type[int | float]) -> Callable[[Any], Any]:
    """Returns a reader of text such as '90m' or '2.5M'; what is no text stays as it is."""

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        found = re.fullmatch(NUMBER + "([a-zA-Z]?)", value)
        if not found or found[2] not in {"", *units}:
            raise ValueError(f"should be a number, or one with a unit: {', '.join(units)}")
        return kind(Decimal(found[1]) * units[found[2]]) if found[2] else value

    return read


def _or_text(number: dict[str, Any], pattern: str) -> WithJsonSchema:
    text = {"type": "string", "pattern": pattern}
    return WithJsonSchema({"anyOf": [number, text, {"type": "null"}]})


Seconds = Annotated[
    Annotated[float, Field(gt=0)] | None,
    BeforeValidator(_in_units(TIMES, float)),
    _or_text({"type": "number", "exclusiveMinimum": 0}, "^[0-9.]+[smhd]$"),
]

Count = Annotated[
    Annotated[int, Field(ge=1)] | None,
    BeforeValidator(_in_units(COUNTS, int)),
    _or_text({"type": "integer", "minimum": 1}, "^[0-9]+([.][0-9]+)?[KMG]$"),
]


class Limits(Section):
    """The most that a trial's network may cost. A point of the space beyond a limit is not trained.

    The searcher knows such points as bad ones, and no budget is spent on them.
    """

    parameters: Count = None
    """The most parameters, such as 10M (K, M, G: thousand, million, billion). null: any number."""
    macs: Count = None
    """The most multiply-accumulates of a forward pass of one image, attention counted, such as
    500M. null: any number."""

    @model_validator(mode="after")
    def _limit_something(self) -> "Limits":
        if self.parameters is None and self.macs is None:
            raise ValueError(
                "limits nothing; parameters or macs is needed, such as parameters: 10M"
            )
        return self

    def allow(self, *, parameters: int, macs: int) -> bool:
        """Returns whether a network of this size is within the limits."""
        limits = ((self.parameters, parameters), (self.macs, macs))
        return all(limit is None or size <= limit for limit, size in limits)


class SearchConfig(Section):
    """A search for the best values of some settings. The first budget that is spent ends it."""

    method: SearcherName = Field("random", description=_meanings(SEARCHERS))
    metric: MetricConfig = MetricConfig()
    """The number that the search optimizes."""
    trials: int | None = Field(None, ge=1, le=MAX_TRIALS)
    """Budget: the number of trials. null: every point for grid and ablation, else 10."""
    epochs: int | None = Field(None, ge=1)
    """Budget: the number of epochs, summed over all trials."""
    time: Seconds = None
    """Budget: the time of the search in seconds, or as text like 90m, 8h, 2d. Time between a run
    and its resumption does not count. Trials end after the epoch that they are in."""
    time_covers: Literal["search", "run"] = "search"
    """What `time` is for. search: the search alone. run: also its confirmation and the winner's
    training; the search ends while there is time for them, judged by the best trial's epochs, and
    a confirmation that is late begins no other training. `--time` sets it."""
    target: float | None = None
    """Budget: the search ends once a trial's metric is as good as this."""
    parameters: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """What is searched: the dotted name of a setting, such as recipe.lr, and its distribution in
    the notation of a W&B sweep."""
    first: list[dict[str, Any]] = Field(default_factory=list)
    """Points to try first, each a mapping of dotted names to values. What a point does not name is
    as in the experiment."""
    limits: Limits | None = None
    """The most that a trial's network may cost. null: no limits."""
    early_stopping: EarlyStopping = EarlyStopping()
    """The rule by which trials end before their last epoch."""
    confirm: Confirm | None = None
    """Trains the best configurations again with other seeds. null: no confirmation."""
    final_validation_fraction: Fraction | None = None
    """data.validation_fraction of the winner's training, such as 0.05: most of the images that
    chose the winner train it. It keeps its last epoch (recipe.keep), since so few images choose
    none. null: it trains on what the trials did."""

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
        return SEARCHERS[self.method].is_exhaustive

    @property
    def has_budget_beside_trials(self) -> bool:
        """Whether something other than a number of trials ends the search."""
        return (self.epochs, self.time, self.target) != (None, None, None)
