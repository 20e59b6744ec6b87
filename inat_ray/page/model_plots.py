"""The plots of a model's predictions: scores by class, confusion matrix, calibration."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from inat_ray.page.axes import Axis, categories, downwards, linear, round_ticks
from inat_ray.page.colors import BLUE, CRIMSON, GRAY, GREEN
from inat_ray.page.figure import SCREEN, SHADES, Figure, Key, Plot
from inat_ray.page.marks import Box, Dot, Line, Whisker
from inat_ray.terminal.words import interval_text, percent
from inat_ray.training.scores import Bin, ClassScores, wilson_interval

SCORES = {
    "recall": (BLUE, "circle", 4.5),
    "precision": (CRIMSON, "diamond-open", 4.5),
    "F1": (GREEN, "bar", 6.5),
}
"""Color, symbol, and size: each can be seen through the others where scores are equal."""

MOST_WRITTEN = 20
"""Classes up to which the cells of a confusion matrix have room for their counts."""

MUTED = 0.16
"""Opacity of the diagonal of a confusion matrix: what is right is no news there."""

FEW_IMAGES = 10
"""A bin of confidences with fewer is drawn hollow and not joined to the others."""

Interval = tuple[float, float]


def scores_figure(classes: Sequence[ClassScores], *, caption: str) -> Figure:
    """Draws recall with its 95 % interval, precision and F1, a line a class, the first on top.

    The axis goes no lower than the values do.
    """
    values = [[getattr(scores, label.lower()) for label in SCORES] for scores in classes]
    ends = [_recall_interval(scores) for scores in classes]
    known = [value for each in values for value in each if value is not None]
    axis = linear("score", [*known, *(low for low, _ in ends), 1.0], share=True, pad=0.02)
    plot = Plot(axis, downwards("", [scores.name for scores in classes]))
    for place, (scores, each) in enumerate(zip(classes, values, strict=True)):
        low, high = ends[place]
        if scores.recall is not None:
            plot.add(Whisker(((low, place), (high, place)), BLUE, series="95 % of recall"))
        for (label, (color, shape, size)), value in zip(SCORES.items(), each, strict=True):
            if value is not None:
                tip = f"{scores.name}: {label} {percent(value)}, {scores.images:,} images"
                plot.add(Dot(value, place, color, shape, size, tip=tip, series=label))
    plot.legend = [Key(label, shape, color) for label, (color, shape, _) in SCORES.items()]
    plot.height = 90 + 24 * len(classes)
    label = "Recall, precision and F1 of each class; the table below has the numbers"
    return Figure("classes", label, {"": [plot]}, caption)


def _recall_interval(scores: ClassScores) -> Interval:
    if scores.recall is None:
        return 1.0, 1.0
    return wilson_interval(scores.recall, scores.images)


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
    names = [classes[label] for label in labels]
    shares = confusion[labels] / np.maximum(confusion.sum(axis=1)[labels], 1)[:, None]
    counts, shares = confusion[np.ix_(labels, labels)], shares[:, labels]
    worst = float(shares[~np.eye(len(labels), dtype=bool)].max(initial=0.0)) or 1.0
    plot = Plot(categories("prediction", names), downwards("truth", names))
    end = len(names) - 0.5
    plot.add(Box((-0.5, end), (end, -0.5), "var(--paper)"))  # no line of the grid shines through
    for row, column in np.argwhere(counts > 0).tolist():
        share, images = float(shares[row, column]), int(counts[row, column])
        color, opacity = (GRAY, MUTED) if row == column else _shade(share / worst)
        tip = f"{images} of {names[row]} taken for {names[column]}: {percent(share)} of the class"
        low, high = (column - 0.47, row + 0.47), (column + 0.47, row - 0.47)
        box = Box(low, high, color, opacity, tip=tip, series=names[row], value=str(images))
        plot.add(replace(box, is_written=len(labels) <= MOST_WRITTEN))
    plot.height = min(900, 110 + 46 * len(labels))
    plot.legend = [Key("0 % of the class", "shades", other=percent(worst))]
    label = (
        "Confusion matrix: images by truth and prediction; the table below has the most frequent"
        " confusions"
    )
    return Figure(
        "confusion", label, {"": [plot]}, caption, screen=min(SCREEN, 220 + 56 * len(labels))
    )


def _shade(share: float) -> tuple[str, float]:
    """Returns the color and opacity for a share of the greatest, so far that text stays legible."""
    color, _ = SHADES[0]
    return color, 0.08 + 0.67 * share


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


def reliability_figure(bins: Sequence[Bin], *, caption: str = "") -> Figure:
    """Draws accuracy against confidence, with 95 % intervals, above the number of images by bin."""
    lowest = math.floor(20 * min((b.low for b in bins if b.images), default=0.0)) / 20
    ends = (lowest - 0.01, 1.01)
    title = "confidence: probability of the prediction"
    x = Axis(title, *ends, round_ticks(*ends, share=True), share=True)
    curve = Plot(
        x, Axis("accuracy", 0, 1.02, round_ticks(0, 1.02, share=True), share=True), height=340
    )
    curve.add(Line([(lowest, lowest), (1, 1)], GRAY, dash="7 4", data=False))
    many = [each for each in bins if each.images >= FEW_IMAGES]
    few = [each for each in bins if 0 < each.images < FEW_IMAGES]
    curve.add(Line([(b.confidence or 0.0, b.accuracy or 0.0) for b in many], BLUE, 2, data=False))
    for each in [*many, *few]:
        curve.add(*_accuracy(each))
    curve.legend = [Key("perfect calibration", "dash"), Key("the model", "circle", BLUE)]
    if few:
        curve.legend.append(Key(f"fewer than {FEW_IMAGES} images", "circle-open", BLUE))
    counts = Plot(
        x, linear("images", [each.images for each in bins], zero=True, whole=True, most=4)
    )
    for each in bins:
        if each.images and each.high > ends[0]:
            room = 0.03 * (each.high - each.low)
            within = interval_text((each.low, each.high))
            tip = f"{each.images:,} images with a confidence of {within}"
            low, high = (each.low + room, 0.0), (each.high - room, float(each.images))
            counts.add(Box(low, high, GRAY, tip=tip, series="images", value=str(each.images)))
    counts.height = 150
    label = "Reliability curve: accuracy against confidence, and images by confidence"
    return Figure("calibration", label, {"": [curve, counts]}, caption, screen=720)


def _accuracy(each: Bin) -> list[Whisker | Dot]:
    """Returns the accuracy of a bin that holds images, with its interval."""
    share, confidence = each.accuracy or 0.0, each.confidence or 0.0
    low, high = wilson_interval(share, each.images)
    tip = f"says {percent(confidence)}, is right in {percent(share)}, {each.images:,} images"
    shape = "circle" if each.images >= FEW_IMAGES else "circle-open"
    return [
        Whisker(((confidence, low), (confidence, high)), BLUE, series="95 %"),
        Dot(confidence, share, BLUE, shape, tip=tip, series="accuracy"),
    ]
