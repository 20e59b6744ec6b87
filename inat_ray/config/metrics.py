"""The metrics that a search can optimize. A new metric is one more entry here.

Whatever computes, records, ranks, labels, or explains a metric asks its entry: the settings, the
run log, the tables, TensorBoard and the report need no other change. Older logs lack a new metric,
and read as NaN there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor  # config is read by commands that never load torch

Goal = Literal["maximize", "minimize"]

BINS = 15
"""Bins of confidence, of equal width, as in Guo et al. 2017 (arXiv 1706.04599)."""


@dataclass(frozen=True)
class Tally:
    """What was counted over a set of images, each once, by all workers together."""

    loss: float
    """Mean over the images."""
    confusion: "Tensor"
    """(classes, classes): images by truth and prediction, on the CPU."""
    own: "Mapping[str, Tensor]" = field(default_factory=dict)
    """By metric: what its `batch_sums` add up to, on the CPU."""

    @property
    def images(self) -> int:
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        return int(self.confusion.diagonal().sum()) / self.images


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
    compute: Callable[[Tally], float]
    batch_sums: "Callable[[Tensor, Tensor], Tensor] | None" = None
    """Needed only if loss and confusion do not suffice: from the probabilities (b, classes) and
    labels (b,) of a batch on the device to a tensor that is added up over batches and workers, so
    of a shape that does not depend on b. `compute` finds the sum in `Tally.own`."""

    def score(self, value: float) -> float:
        """Turns a value so that higher is better. Applied to a score, it returns the value."""
        return value if self.goal == "maximize" else -value


def _balanced_accuracy(tally: Tally) -> float:
    """Returns the mean recall; a class without an image has none."""
    right, truths = tally.confusion.diagonal(), tally.confusion.sum(dim=1)
    return float((right[truths > 0] / truths[truths > 0]).mean())


def _macro_f1(tally: Tally) -> float:
    """Returns the mean F1; a class that no image is of or is taken for has none."""
    both = tally.confusion.sum(dim=0) + tally.confusion.sum(dim=1)
    return float((2 * tally.confusion.diagonal()[both > 0] / both[both > 0]).mean())


def _reliability_sums(probabilities: "Tensor", labels: "Tensor") -> "Tensor":
    """Returns (BINS, 2): sums of confidence, and images classified correctly, by confidence."""
    confidence, prediction = probabilities.double().max(dim=1)
    # A bin has its upper end. NaN becomes some bin, and makes that bin's sum NaN.
    places = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    rows = confidence.new_empty(len(labels), 2)
    rows[:, 0], rows[:, 1] = confidence, prediction == labels
    return rows.new_zeros(BINS, 2).index_add_(0, places, rows)


def _calibration_error(tally: Tally) -> float:
    confidence, right = tally.own["val_ece"].unbind(dim=1)
    return float((right - confidence).abs().sum()) / tally.images


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name="val_accuracy",
            label="val acc",
            meaning="share of the validation images that are classified correctly",
            goal="maximize",
            is_share=True,
            compute=lambda tally: tally.accuracy,
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
            name="val_macro_f1",
            label="val F1",
            meaning="mean of the classes' F1 scores",
            goal="maximize",
            is_share=True,
            compute=_macro_f1,
        ),
        Metric(
            name="val_loss",
            label="val loss",
            meaning="mean cross-entropy, without label smoothing",
            goal="minimize",
            is_share=False,
            compute=lambda tally: tally.loss,
        ),
        Metric(
            name="val_ece",
            label="val ECE",
            meaning="expected calibration error: how far confidence is from accuracy, in the mean",
            goal="minimize",
            is_share=True,
            compute=_calibration_error,
            batch_sums=_reliability_sums,
        ),
    )
}

if TYPE_CHECKING:
    MetricName = str  # mypy takes only a list that is written out
else:
    MetricName = Literal[tuple(METRICS)]
