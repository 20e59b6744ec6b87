"""The sections about a model: how good it is, how it fails, and on which pictures."""

import numpy as np
from markupsafe import Markup

from inat_ray.config.metrics import BINS
from inat_ray.data.dataset import DataSet
from inat_ray.data.split import SubsetName
from inat_ray.page.figure import Figure
from inat_ray.page.html import (
    Cell,
    Section,
    facts,
    folded,
    joined,
    missing,
    paragraph,
    table,
)
from inat_ray.page.metrics import share_cell
from inat_ray.page.model_plots import confusion_figure, reliability_figure, scores_figure
from inat_ray.page.predicted import RIGHT, WRONG, Pictures
from inat_ray.run.result import Result
from inat_ray.terminal.model_tables import calibration_text
from inat_ray.terminal.words import counted, interval_text, percent
from inat_ray.training.predictions import Predictions
from inat_ray.training.scores import (
    Assessment,
    assess,
    confident_mistakes,
    confusion_matrix,
    confusions,
    hardest_first,
    likely_wrong_labels,
    reliability,
    spread_sample,
    wilson_interval,
)

STRIP, SHOWN_PICTURES, SHOWN_MISTAKES = 7, 30, 12
PLOTTED_CLASSES, MATRIX_CLASSES, SHOWN_CONFUSIONS = 40, 100, 20
SHARES = {
    "top-5 accuracy": "top5_accuracy",
    "macro precision": "macro_precision",
    "macro recall": "macro_recall",
    "macro F1": "macro_f1",
    "expected calibration error": "ece",
}
"""Heading -> the field of an assessment that is shown in percent."""

COSTS = {
    "parameters": "parameters",
    "of them trained": "trainable_parameters",
    "multiply-accumulates an image": "macs",
    "images/s in training": "images_per_second",
}
"""Heading -> the key of a result."""


def model_sections(
    predictions: Predictions,
    *,
    subset: SubsetName,
    data: DataSet | None,
    result: Result | None = None,
) -> list[Section]:
    """Returns what some predictions say about their model.

    Without `data` the pictures are missing; `result` (from result.json) adds the model's size and
    the speed of its training, as far as it has them.
    """
    assessment = assess(predictions)
    pictures = Pictures(predictions, data)
    scores = facts(_scores(assessment) + _costs(result or {}))
    return [
        Section(f"The model on the {subset} images", "model", scores),
        Section("Class by class", "model-classes", *_classes(assessment)),
        Section("Confusion matrix", "model-confusions", *_confusions(predictions, assessment)),
        Section(
            "Calibration",
            "model-calibration",
            *_calibration(predictions, assessment.ece, how=calibration_text(result or {})),
        ),
        Section(
            "The most confident mistakes",
            "model-mistakes",
            *_mistakes(pictures, subset),
            _sample(pictures, subset),
        ),
    ]


def examples(predictions: Predictions, data: DataSet | None) -> list[Markup]:
    """Returns a strip of images with prediction and truth; nothing without the photographs."""
    if data is None:
        return []
    rows = spread_sample(predictions, STRIP)
    shown = Markup("").join(Pictures(predictions, data).shown(rows))
    text = f"Test images drawn at random: {RIGHT} right, {WRONG} wrong, with the probability."
    return [Markup('<div class="strip">{}<p class="caption">{}</p></div>').format(shown, text)]


def _scores(assessment: Assessment) -> list[tuple[str, str]]:
    interval = interval_text(assessment.accuracy_interval)
    shares = [(title, getattr(assessment, field)) for title, field in SHARES.items()]
    return [
        ("accuracy", f"{percent(assessment.accuracy)} (95 % interval {interval})"),
        ("images", f"{assessment.images:,}"),
        ("loss (cross-entropy, nats)", f"{assessment.loss:.3f}"),
        *((title, percent(share)) for title, share in shares if share is not None),
    ]


def _costs(result: Result) -> list[tuple[str, str]]:
    known = [(title, result.get(key)) for title, key in COSTS.items()]
    return [(title, f"{value:,.0f}") for title, value in known if value is not None]


def _classes(assessment: Assessment) -> list[Markup | Figure]:
    hardest = hardest_first(assessment.classes)
    shown = hardest[:PLOTTED_CLASSES]
    cut = len(shown) < len(hardest)
    caption = (
        f"{assessment.images:,} images; bars are 95 % intervals of the recall, from the images of"
        " the class."
    )
    if cut:
        caption += f" The {len(shown)} classes with the lowest F1; the table has all."
    drawn = scores_figure(shown, caption=caption)
    rows: list[list[Cell]] = [
        [c.name, c.images, c.predicted, *map(share_cell, (c.precision, c.recall, c.f1))]
        for c in hardest
    ]
    numbers = table(
        ("class", "images", "predicted", "precision", "recall", "F1"),
        rows,
        caption="Precision: the share of the images predicted as the class that belong to it;"
        " recall: the share of its images that were found; F1: their harmonic mean. A dash: no"
        " such image.",
    )
    return [drawn, folded(numbers, summary=f"The numbers of all {len(rows)} classes")]


def _confusions(predictions: Predictions, assessment: Assessment) -> list[Markup | Figure]:
    hardest = {scores.name for scores in hardest_first(assessment.classes)[:MATRIX_CLASSES]}
    shown = [label for label, name in enumerate(predictions.classes) if name in hardest]
    caption = (
        f"{len(predictions):,} images; a row holds those of a class. Color: the share of the row"
        " that was taken for another class; what is right is gray. Classes that are confused stand"
        " together."
    )
    if len(shown) < len(predictions.classes):
        caption += f" Of all classes the {len(shown)} with the lowest F1."
    matrix = confusion_matrix(predictions)
    drawn = confusion_figure(matrix, predictions.classes, shown=shown, caption=caption)
    return [drawn, _confusions_table(predictions)]


def _confusions_table(predictions: Predictions) -> Markup:
    pairs = confusions(predictions)
    if not pairs:
        return paragraph("No image was classified wrongly.")
    rows: list[list[Cell]] = [
        [pair.truth, pair.prediction, pair.images, share_cell(pair.share)]
        for pair in pairs[:SHOWN_CONFUSIONS]
    ]
    more = len(pairs) - len(rows)
    caption = "The most frequent confusions" + (f"; {more} more pairs occur." if more else ".")
    listed = table(("truth", "prediction", "images", "share of the class"), rows, caption=caption)
    return folded(listed, summary="As a list")


def _calibration(predictions: Predictions, ece: float | None, *, how: str) -> list[Markup | Figure]:
    if ece is None:
        return [missing("The model gave no finite probability.")]
    caption = (
        f"{len(predictions):,} images by confidence in {BINS} bins of equal width; bars are 95 %"
        " intervals of their accuracy. Below the dashed line the model is too sure of itself, above"
        f" it too modest. Expected calibration error (Guo et al. 2017): {percent(ece)}."
    )
    drawn = reliability_figure(reliability(predictions), caption=caption)
    text = trust_text(predictions, ece) + (f" It was calibrated {how}." if how else "")
    return [paragraph(text), drawn]


def trust_text(predictions: Predictions, ece: float) -> str:
    """Says in plain words how far the model's probabilities can be believed."""
    known = np.isfinite(predictions.confidences)
    says = float(predictions.confidences[known].mean())
    right, images = float(predictions.correct[known].mean()), int(known.sum())
    low, high = wilson_interval(right, images)
    verdict = "on the whole it can be taken at its word"
    if says > high:
        verdict = "it is too sure of itself"
    elif says < low:
        verdict = "it is surer than it says"
    return (
        f"On average the model says that it is right with a probability of {percent(says)}, and it"
        f" is right in {percent(right)} of {images:,} images: {verdict}. At a given"
        f" probability it is off by {100 * ece:.1f} points on average."
    )


def _sample(pictures: Pictures, subset: SubsetName) -> Markup:
    rows = spread_sample(pictures.predictions, SHOWN_PICTURES)
    title = f"{len(rows)} of the {len(pictures.predictions):,} {subset} images, drawn at random"
    note = (
        "They were drawn class by class in turn, without regard to the predictions."
        f" {RIGHT} right, {WRONG} wrong; with the probability of the prediction."
    )
    return folded(joined(paragraph(note), *pictures.shown(rows)), summary=title)


def _mistakes(pictures: Pictures, subset: SubsetName) -> list[Markup]:
    rows = confident_mistakes(pictures.predictions, SHOWN_MISTAKES)
    if not rows:
        return [paragraph("The model made no mistake.")]
    note = (
        "The mistakes that the model is surest of, with the probability of its prediction and of"
        " the truth."
    )
    if subset != "train" and (wrong := len(likely_wrong_labels(pictures.predictions))):
        note += (
            f" {counted(wrong, 'label')} of all {len(pictures.predictions):,} may be wrong:"
            " inat-ray check RUN shows them, and says by what rule."
        )
    return [paragraph(note), *pictures.with_files(rows, most=SHOWN_MISTAKES)]
