"""The metrics that a search can optimize. A new metric is one more entry here.

Whatever computes, records, ranks, labels, or explains a metric asks its entry, so that "which way
is better" has one answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor  # config is read by commands that never load torch

Goal = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Metric:
    """A number that is measured on the validation images after each epoch."""

    name: str
    """Its key in experiments, in the run log, and in tables."""
    label: str
    """Its name in a column's head, in tables of the terminal."""
    meaning: str
    """What the number is, in one phrase, for tables and the documentation."""
    goal: Goal
    is_share: bool
    """Whether it lies between 0 and 1, and is shown in percent."""
    compute: "Callable[[float, Tensor], float]"
    """Computes it from the mean loss and the confusion counts (truth, prediction) of all images."""

    def score(self, value: float) -> float:
        """Turns a value so that higher is better. Applied to a score, it returns the value."""
        return value if self.goal == "maximize" else -value


def _accuracy(_: float, counts: "Tensor") -> float:
    return int(counts.diagonal().sum()) / int(counts.sum())


def _balanced_accuracy(_: float, counts: "Tensor") -> float:
    """The mean recall; a class without an image has none."""
    truths = counts.sum(dim=1)
    return float((counts.diagonal()[truths > 0] / truths[truths > 0]).mean())


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name="val_accuracy",
            label="val acc",
            meaning="share of the validation images that are classified correctly",
            goal="maximize",
            is_share=True,
            compute=_accuracy,
        ),
        Metric(
            name="val_balanced_accuracy",
            label="val bal. acc",
            meaning="mean of the classes' recalls",
            goal="maximize",
            is_share=True,
            compute=_balanced_accuracy,
        ),
        Metric(
            name="val_loss",
            label="val loss",
            meaning="mean cross-entropy, without label smoothing",
            goal="minimize",
            is_share=False,
            compute=lambda loss, _: loss,
        ),
    )
}

if TYPE_CHECKING:
    MetricName = str  # mypy takes only a list that is written out
else:
    MetricName = Literal[tuple(METRICS)]
