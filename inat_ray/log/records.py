"""The records of a run log: one for each thing that happened."""

import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from inat_ray.config.epoch import EpochMetrics
from inat_ray.config.metrics import Goal, MetricName
from inat_ray.config.search import SearcherName

JSON = Any
"""A value that JSON can hold."""

LOG_VERSION = 3
"""Version of the records below. 2 added pauses, budgets and confirmation, which 1 would misread;
since 3 the winner is the trial with the best stretch, before that the one with the best epoch."""

TrialState = Literal[
    "running",
    "paused",
    "finished",
    "stopped",
    "stopped_by_hand",
    "diverged",
    "out_of_memory",
    "failed",
    "interrupted",
]
"""`paused`: at a rung, until it is promoted; `stopped`: by early stopping or a spent budget, also
while it was paused or cut off; `stopped_by_hand`: a person asked for it; `diverged`: the loss
became NaN or infinite; `interrupted`: cut off, continues when resumed."""


def in_words(state: str) -> str:
    """'stopped by hand'."""
    return state.replace("_", " ")


ParameterKind = Literal["number", "boolean", "string"]
"""How a hyperparameter's values are shown; those that are mixed or nested, as JSON strings."""

Purpose = Literal["search", "confirm", "final"]
"""`confirm`: one of the best configurations, trained again with another seed; `final`: the
winner's configuration, trained once more for the model that is kept."""

Reason = Literal["trials", "points", "limits", "epochs", "time", "target", "asked"]
"""What ended a search: the budget that was spent, a space without an untried point, one in which
point after point is beyond the limits, or a person who asked for its end."""


BudgetName = Literal["epochs", "time", "target"]

BUDGETS: tuple[BudgetName, ...] = ("epochs", "time", "target")
"""The settings of a search that end it, beside its number of trials."""

Budgets = dict[BudgetName, int | float | None]
"""Name -> what ends the search; None: it ends nothing."""

Method = SearcherName | Literal["train"]
"""How a run chooses its configurations; `train` has a single one."""

Time = Annotated[float, Field(ge=0, le=2**37, allow_inf_nan=False)]
"""Seconds since 1970, up to a year that every calendar has."""

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

TrialId = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
"""Folders are named by it."""


class Record(BaseModel):
    """A line of the log. `time` is in seconds since 1970."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")
    time: Time = Field(default_factory=time.time)
    kind: str
    """Says which record it is. Declared here so that it is the second field of every line."""


class TrialRecord(Record):
    """A record of something that happened to a trial of this run."""

    trial_id: TrialId


class RunStarted(Record):
    kind: Literal["run_started"] = "run_started"
    version: PositiveInt = 1
    """`LOG_VERSION` of the writer; the first logs did not say."""
    name: str
    method: Method
    metric: MetricName
    goal: Goal
    trials: NonNegativeInt
    """Trials that are planned."""
    epochs: NonNegativeInt
    """Epochs of a trial that is not stopped early (where epochs are searched: the most)."""
    parameters: dict[str, ParameterKind]
    """Dotted names that the search varies, and what their values are."""
    points: NonNegativeInt | None = Field(None, exclude_if=lambda points: points is None)
    """Points of a finite space, if the search has limits: so many trials and points beyond them
    there are at most."""
    budgets: Budgets = Field({}, exclude_if=lambda budgets: not budgets)
    """What ends the search beside the number of its trials; earlier logs do not say."""


class RunResumed(Record):
    """Another process continues the run; trials that were running were cut off."""

    kind: Literal["run_resumed"] = "run_resumed"
    trials: NonNegativeInt
    """Trials that are planned now: more than before if the run is extended."""
    extended: bool = False
    """Whether it continues after its end. Then only the budget of trials holds, and those that the
    person names."""


class TrialKnown(Record):
    """A trial of another run, which the searcher knows from the start."""

    kind: Literal["trial_known"] = "trial_known"
    source: str
    """The other run's name and the trial's id there."""
    parameters: dict[str, JSON]
    values: list[float]
    """The metric after each epoch."""
    state: TrialState


class TrialStarted(TrialRecord):
    """A trial was suggested. It may wait for a process for a while."""

    kind: Literal["trial_started"] = "trial_started"
    purpose: Purpose = "search"
    seed: int
    parameters: dict[str, JSON]
    """Dotted name -> value."""
    epochs: NonNegativeInt
    """Epochs that this trial runs unless it is stopped."""
    keeps_last: bool = Field(False, exclude_if=lambda keeps_last: not keeps_last)
    """Whether the model of its last epoch is kept, not of its best one."""


class PointBeyond(Record):
    """A point was suggested that is beyond the search's limits, so there is no trial of it."""

    kind: Literal["point_beyond"] = "point_beyond"
    parameters: dict[str, JSON]
    """Dotted name -> value."""
    model_parameters: NonNegativeInt
    macs: NonNegativeInt


class EpochEnded(EpochMetrics, TrialRecord):
    """The numbers of a trial's epoch, and the checkpoint that the training left after it."""

    kind: Literal["epoch_ended"] = "epoch_ended"
    checkpoint: Annotated[str, Field(pattern=r"^checkpoints/.+\.pt$")] | None = None
    """Relative to the run folder; written before this record, removed when the trial is over."""


class TrialPaused(TrialRecord):
    """A trial waits at a rung, and goes on only if it is promoted."""

    kind: Literal["trial_paused"] = "trial_paused"


class TrialResumed(TrialRecord):
    """A trial that was paused or cut off continues after `epochs`; later epochs no longer count."""

    kind: Literal["trial_resumed"] = "trial_resumed"
    epochs: NonNegativeInt


class TrialEnded(TrialRecord):
    kind: Literal["trial_ended"] = "trial_ended"
    state: TrialState
    error: str | None = None


class SearchChanged(Record):
    """A person changed the space, or what ends the search. What was tried before stays known."""

    kind: Literal["search_changed"] = "search_changed"
    parameters: dict[str, dict[str, JSON]] = {}
    """Dotted name -> its distribution from here on, as an experiment writes it."""
    before: dict[str, dict[str, JSON]] = {}
    """The same parameters' distributions up to here."""
    budget: PositiveInt | None = None
    """The number of trials that was asked for, if that is what was changed."""
    budgets: Budgets = {}
    """The other budgets that hold from here on; one that is not named holds as before."""
    budgets_before: Budgets = {}
    """The same budgets up to here."""
    trials: NonNegativeInt
    """Trials that are planned now: the budget, or all points of a space that has fewer."""
    points: NonNegativeInt | None = None
    """As in `RunStarted`."""


class StopAsked(TrialRecord):
    """A person asked for the end of a trial."""

    kind: Literal["stop_asked"] = "stop_asked"
    epochs: NonNegativeInt
    """It ends once it has had so many: those up to now, and the one that it is in."""


class FinishAsked(Record):
    """A person asked for the end of the search. What is running ends after its present epoch."""

    kind: Literal["finish_asked"] = "finish_asked"


class TrialPicked(TrialRecord):
    """A person asked, after the search, for a model of this trial's configuration: it is kept
    instead of the winner's."""

    kind: Literal["trial_picked"] = "trial_picked"


Steering = SearchChanged | StopAsked | FinishAsked | TrialPicked
"""What a person asked of a search after it began."""


class SearchEnded(Record):
    """No further trial of the search begins or goes on."""

    kind: Literal["search_ended"] = "search_ended"
    reason: Reason


class LookAtTest(Record):
    """The test set was looked at."""

    kind: Literal["look_at_test"] = "look_at_test"
    model: str
    """File name of the model that was evaluated."""
    accuracy: Share
    loss: float
    images: PositiveInt
    ece: float | None = None
    """Expected calibration error; logs of earlier versions do not have it."""
    predictions: str
    """The Parquet file of them, relative to the run folder."""


AnyRecord = Annotated[
    RunStarted
    | RunResumed
    | TrialKnown
    | TrialStarted
    | PointBeyond
    | EpochEnded
    | TrialPaused
    | TrialResumed
    | TrialEnded
    | Steering
    | SearchEnded
    | LookAtTest,
    Field(discriminator="kind"),
]
