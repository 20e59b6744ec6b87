"""Measures how good a model is and how it fails, from its predictions.

A number that is undefined (the recall of a class without images, the mean confidence of an empty
bin) is None, never zero.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist, fmean

import numpy as np
from numpy.typing import NDArray

from inat_ray.config.metrics import BINS
from inat_ray.training.calibration import LEAST
from inat_ray.training.predictions import Predictions

LEVEL = 0.95
"""Coverage of the confidence intervals."""

TOP = 5
"""Top-k accuracy is given where there are more classes than this."""

Interval = tuple[float, float]
"""Lower and upper end."""


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class."""

    name: str
    images: int
    """Images of this class."""
    predicted: int
    """Images that are classified as it."""
    precision: float | None
    """Share of the predicted images that are of the class; None if none is predicted."""
    recall: float | None
    """Share of the class's images that are predicted; None if it has no image."""
    f1: float | None
    """Harmonic mean of the two; None if no image is of the class or predicted."""


@dataclass(frozen=True)
class Bin:
    """The images whose prediction has a probability in (low, high]."""

    low: float
    high: float
    images: int
    confidence: float | None
    """Their mean; None if there is no image."""
    accuracy: float | None


@dataclass(frozen=True)
class Confusion:
    """Images of one class that are classified as another."""

    truth: str
    prediction: str
    images: int
    share: float
    """Share of all images of the class."""


@dataclass(frozen=True)
class Assessment:
    """The scores of a model on a subset."""

    images: int
    accuracy: float
    accuracy_interval: Interval
    """95 % Wilson interval for the accuracy on all images of which these are a sample."""
    top5_accuracy: float | None
    """Share of images whose class is among the five likeliest; None for five classes or fewer."""
    loss: float
    """Cross-entropy in nats, without smoothing or weights; NaN if a probability is."""
    classes: list[ClassScores]
    macro_precision: float | None
    """Mean over the classes that have one, each counted alike; likewise recall and F1."""
    macro_recall: float | None
    macro_f1: float | None
    ece: float | None
    """Expected calibration error; None if every probability is NaN."""


def assess(predictions: Predictions) -> Assessment:
    """Computes every score of some predictions."""
    images, right = len(predictions), int(predictions.correct.sum())
    classes = class_scores(predictions)
    return Assessment(
        images=images,
        accuracy=right / images,
        accuracy_interval=wilson_interval(right / images, images),
        top5_accuracy=top_accuracy(predictions, TOP) if len(predictions.classes) > TOP else None,
        loss=cross_entropy(predictions),
        classes=classes,
        macro_precision=_mean([scores.precision for scores in classes]),
        macro_recall=_mean([scores.recall for scores in classes]),
        macro_f1=_mean([scores.f1 for scores in classes]),
        ece=calibration_error(reliability(predictions)),
    )


def wilson_interval(share: float, images: int) -> Interval:
    """Returns the 95 % score interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22:209-212).

    Unlike the normal approximation it stays within 0..1 and holds near both ends.
    """
    # SciPy has it, too, and takes a second to load.
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    middle = share + z**2 / (2 * images)
    reach = z * math.sqrt(share * (1 - share) / images + (z / (2 * images)) ** 2)
    whole = 1 + z**2 / images
    low, high = (middle - reach) / whole, (middle + reach) / whole
    return low if share > 0 else 0.0, high if share < 1 else 1.0


def confusion_matrix(predictions: Predictions) -> NDArray[np.int64]:
    """Counts the images (C, C) by truth (row) and prediction (column)."""
    size = len(predictions.classes)
    places = predictions.truths * size + predictions.predictions
    return np.bincount(places, minlength=size * size).reshape(size, size)


def class_scores(predictions: Predictions) -> list[ClassScores]:
    """Returns the scores of each class, in the order of the classes."""
    confusion = confusion_matrix(predictions)
    counts = zip(
        predictions.classes,
        confusion.sum(axis=1).tolist(),
        confusion.sum(axis=0).tolist(),
        confusion.diagonal().tolist(),
        strict=True,
    )
    return [
        ClassScores(
            name=name,
            images=images,
            predicted=predicted,
            precision=_share(right, predicted),
            recall=_share(right, images),
            f1=_share(2 * right, images + predicted),
        )
        for name, images, predicted, right in counts
    ]


def hardest_first(classes: list[ClassScores]) -> list[ClassScores]:
    """Sorts by F1, the lowest first; classes without one come last."""
    return sorted(classes, key=lambda scores: math.inf if scores.f1 is None else scores.f1)


def confusions(predictions: Predictions) -> list[Confusion]:
    """Returns the confusions that occur, the most frequent first."""
    matrix = confusion_matrix(predictions)
    images = matrix.sum(axis=1)
    names = predictions.classes
    found = [
        Confusion(
            truth=names[truth],
            prediction=names[prediction],
            images=int(matrix[truth, prediction]),
            share=float(matrix[truth, prediction] / images[truth]),
        )
        for truth, prediction in np.argwhere(matrix)
        if truth != prediction
    ]
    return sorted(found, key=lambda confusion: -confusion.images)


def top_accuracy(predictions: Predictions, most: int) -> float:
    """Returns the share of images whose class is among the `most` likeliest, first of equals."""
    likeliest = np.argsort(-predictions.probabilities, axis=1, kind="stable")[:, :most]
    return float((likeliest == predictions.truths[:, None]).any(axis=1).mean())


def cross_entropy(predictions: Predictions) -> float:
    """Returns the mean of -ln p(truth), as training counts it; NaN if a probability is."""
    of_truth = predictions.probabilities[np.arange(len(predictions)), predictions.truths]
    return float(-np.log(of_truth.astype(np.float64).clip(min=LEAST)).mean())


def reliability(predictions: Predictions, *, bins: int = BINS) -> list[Bin]:
    """Sorts images by confidence into bins of equal width (Guo et al. 2017, arXiv 1706.04599).

    Images without a probability are in none.
    """
    known = np.isfinite(predictions.confidences)
    confidences, correct = predictions.confidences[known], predictions.correct[known]
    edges = np.linspace(0, 1, bins + 1)
    places = np.digitize(confidences, edges[1:-1], right=True)
    found = []
    for place, (low, high) in enumerate(pairwise(edges.tolist())):
        within = places == place
        images = int(within.sum())
        confidence = _share(float(confidences[within].sum()), images)
        accuracy = _share(int(correct[within].sum()), images)
        found.append(Bin(low, high, images=images, confidence=confidence, accuracy=accuracy))
    return found


def calibration_error(bins: list[Bin]) -> float | None:
    """Returns the mean over the images of |accuracy - confidence| of their bin (same paper)."""
    gaps = [
        each.images * abs(each.accuracy - each.confidence)
        for each in bins
        if each.accuracy is not None and each.confidence is not None
    ]
    return _share(sum(gaps), sum(each.images for each in bins))


def confident_mistakes(predictions: Predictions, most: int) -> list[int]:
    """Returns the rows of the mistakes that the model was surest of, the surest first."""
    wrong = np.flatnonzero(~predictions.correct & np.isfinite(predictions.confidences))
    order = np.argsort(-predictions.confidences[wrong], kind="stable")
    rows: list[int] = wrong[order][:most].tolist()
    return rows


def likely_wrong_labels(predictions: Predictions) -> list[int]:
    """Returns the rows whose label is likely wrong, the likeliest first, by confident learning.

    There the model predicts another class, and finds it at least as probable as it does on the
    average of the images with that label: a class that the model is modest about is judged as
    strictly as another (Northcutt, Jiang & Chuang 2021, J. Artif. Intell. Res. 70:1373-1411). The
    order is by how much more probable than the label the other class is. The images must not be
    those that the model was trained on: of these it knows wrong labels, too, by heart.
    """
    truths, size = predictions.truths, len(predictions.classes)
    known = np.isfinite(predictions.confidences)
    of_truth = predictions.probabilities[np.arange(len(predictions)), truths]
    images = np.bincount(truths[known], minlength=size)
    sums = np.bincount(truths[known], weights=of_truth[known], minlength=size)
    usual = np.divide(sums, images, out=np.full(size, np.inf), where=images > 0)
    sure = known & (predictions.confidences >= usual[predictions.predictions])
    wrong = np.flatnonzero(sure & ~predictions.correct)
    order = np.argsort(of_truth[wrong] - predictions.confidences[wrong], kind="stable")
    rows: list[int] = wrong[order].tolist()
    return rows


def spread_sample(predictions: Predictions, most: int, *, seed: int = 0) -> list[int]:
    """Draws rows without looking at the predictions: as many of each class as there is room for.

    One of each class, then another of each, and so on; a class that runs out leaves its room to
    the others, and if there are more classes than room, some classes are drawn.
    """
    drawn = np.random.default_rng(seed).permutation(len(predictions)).tolist()
    seen = [0] * len(predictions.classes)
    turns = []
    for row in drawn:
        label = int(predictions.truths[row])
        turns.append((seen[label], label, row))
        seen[label] += 1
    # Sorting by the turn alone leaves a turn's classes in the order in which they were drawn.
    chosen = sorted(turns, key=lambda turn: turn[0])[:most]
    return [row for _, _, row in sorted(chosen)]


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
