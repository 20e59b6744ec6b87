"""The figures of a model's predictions: scores by class, confusion matrix, calibration."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from inat_ray.page.axes import categories, linear
from inat_ray.page.colors import BLUE, CRIMSON, GRAY, GREEN
from inat_ray.page.figure import Figure, Key, Plot
from inat_ray.page.marks import Box, Dot, Line, Whisker, Words
from inat_ray.terminal.words import counted, percent
from inat_ray.training.scores import Bin, ClassScores, wilson_interval

SCORES = {
    "recall": (BLUE, "circle"),
    "precision": (CRIMSON, "diamond-open"),
    "F1": (GREEN, "bar"),
}
"""Color and symbol: each can be seen through the others where scores are equal."""

MOST_WRITTEN = 20
"""Classes up to which the cells of a confusion matrix have room for their counts."""

STRONGEST, MUTED = 0.75, 0.16
"""Opacity of the most frequent confusion, on which text is legible, and of the diagonal."""

FEW_IMAGES = 10
"""A bin of confidences with fewer is drawn hollow and not joined to the others."""


def scores_figure(classes: Sequence[ClassScores], *, caption: str) -> Figure:
    """Draws recall with its 95 % interval, precision and F1, a line a class, the first on top."""
    lines = list(enumerate(reversed(classes)))
    ends = {
        y: wilson_interval(round(scores.recall * scores.images), scores.images)
        for y, scores in lines
        if scores.recall is not None
    }
    known = [v for _, scores in lines for v in _values(scores).values() if v is not None]
    plot = Plot(
        linear("score", [*known, *(low for low, _ in ends.values())], share=True),
        categories("", [scores.name for _, scores in lines]),
        legend=[Key(name, shape, color) for name, (color, shape) in SCORES.items()],
        height=90 + 24 * len(lines),
    )
    for y, (low, high) in ends.items():
        plot.add(Whisker(((low, y), (high, y)), series="recall, 95 % interval"))
    for y, scores in lines:
        for name, value in _values(scores).items():
            if value is not None:
                color, shape = SCORES[name]
                tip = f"{scores.name}: {name} {percent(value)}, {counted(scores.images, 'image')}"
                plot.add(Dot(value, y, color, shape, 4.5, series=name, tip=tip))
    label = "Recall, precision and F1 of each class; the table below has the numbers"
    return Figure.of("classes", plot, label=label, caption=caption)


def _values(scores: ClassScores) -> dict[str, float | None]:
    return {"recall": scores.recall, "precision": scores.precision, "F1": scores.f1}


@dataclass
class Square(Plot):
    """A plot that is no wider than it is high."""

    def svg(self, width: float, height: float, *, left: float, bare: bool = False) -> str:
        return super().svg(min(width, height + left), height, left=left, bare=bare)


def confusion_figure(
    confusion: NDArray[np.int64],
    classes: Sequence[str],
    *,
    shown: Sequence[int] | None = None,
    caption: str = "",
) -> Figure:
    """Draws a confusion matrix (C, C): shades are shares of the class's images, counts are text.

    The shades are for confusions; what is right is gray, and a cell without an image stays empty.
    Classes that are confused stand together. `shown` are the labels that get a row and a column;
    all if not given.
    """
    labels = list(range(len(classes)) if shown is None else shown)
    labels = [labels[place] for place in confused_together(confusion[np.ix_(labels, labels)])]
    names, counts = [classes[label] for label in labels], confusion[np.ix_(labels, labels)]
    shares = counts / np.maximum(confusion.sum(axis=1)[labels], 1)[:, None]
    worst = float((shares - np.diag(np.diag(shares))).max(initial=0.0)) or 1.0
    plot = Square(
        categories("prediction", names),
        categories("truth", names[::-1]),
        legend=[Key("share of the class: 0 %", "shades", other=percent(worst))],
        height=min(860, 120 + 52 * len(names)),
    )
    # Cells are see-through, and what lies behind them would be the lines of the grid.
    end = len(names) - 0.5
    plot.add(Box((-0.5, -0.5), (end, end), "var(--paper)"))
    for row, column in np.argwhere(counts).tolist():
        y, count, share = len(names) - 1 - row, int(counts[row, column]), shares[row, column]
        right = row == column
        tip = f"{count} images of {names[row]} classified as {names[column]}, {percent(share)}"
        plot.add(
            Box(
                (column - 0.47, y - 0.47),
                (column + 0.47, y + 0.47),
                GRAY if right else BLUE,
                MUTED if right else STRONGEST * share / worst,
                tip=tip,
                series=names[row],
                value=str(count),
            )
        )
        if len(names) <= MOST_WRITTEN:
            plot.add(Words(column, y, str(count), anchor="middle", shift=(0, 4)))
    label = (
        "Confusion matrix: images by truth and prediction; the table below has the most frequent"
        " confusions"
    )
    return Figure.of("confusions", plot, label=label, caption=caption)


def confused_together(confusion: NDArray[np.int64]) -> list[int]:
    """Returns the classes of a confusion matrix in an order in which confused ones are neighbors.

    They are merged by the mean share that two groups confuse, and the tree is turned so that
    neighbors are as close as it allows (Bar-Joseph et al., 2001).
    """
    if len(confusion) < 3:
        return list(range(len(confusion)))
    shares = confusion / np.maximum(confusion.sum(axis=1), 1)[:, None]
    distance = 1 - (shares + shares.T) / 2
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    order: list[int] = leaves_list(tree).tolist()
    return order


def reliability_figure(bins: Sequence[Bin], *, caption: str) -> Figure:
    """Draws accuracy against confidence, with 95 % intervals, above the number of images by bin."""
    held = [each for each in bins if each.images]
    lowest = min((each.low for each in held), default=0.0)
    x = linear("confidence: probability of the prediction", [lowest, 1], share=True, pad=0.01)
    plot = Plot(x, linear("accuracy", [0, 1], share=True, pad=0.02), height=340)
    plot.add(Line([(lowest, lowest), (1, 1)], GRAY, dash="6 4", data=False))
    many = [each for each in held if each.images >= FEW_IMAGES]
    if many:
        joined = [(each.confidence or 0.0, each.accuracy or 0.0) for each in many]
        plot.add(Line(joined, BLUE, 2, data=False))
    for each in held:
        confidence, accuracy = each.confidence or 0.0, each.accuracy or 0.0
        low, high = wilson_interval(round(accuracy * each.images), each.images)
        shape = "circle" if each in many else "circle-open"
        tip = f"says {percent(confidence)}, is right in {percent(accuracy)}"
        tip += f" of {counted(each.images, 'image')}"
        plot.add(
            Whisker(((confidence, low), (confidence, high)), series="95 % interval"),
            Dot(confidence, accuracy, BLUE, shape, series="accuracy", tip=tip),
        )
    plot.legend = [
        Key("the model", "circle", BLUE),
        Key(f"fewer than {FEW_IMAGES} images", "circle-open", BLUE),
        Key("perfect calibration", "dash", GRAY),
    ]
    counts = Plot(x, linear("images", [b.images for b in bins], zero=True, whole=True), height=150)
    for each in held:
        tip = f"{counted(each.images, 'image')} from {each.low:.0%} to {each.high:.0%}"
        edge = 0.03 * (each.high - each.low)
        corners = (each.low + edge, 0.0), (each.high - edge, float(each.images))
        counts.add(Box(*corners, GRAY, tip=tip, series="images", value=str(each.images)))
    label = "Reliability curve: accuracy against confidence, and images by confidence"
    return Figure.of("calibration", plot, counts, label=label, caption=caption)
