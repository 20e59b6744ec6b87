"""The model's part of the report: how good it is, how it fails, and on which pictures."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from inat_ray.config.metrics import BINS
from inat_ray.data.dataset import DataSet
from inat_ray.data.split import SubsetName
from inat_ray.page.metric_parts import share_cell
from inat_ray.page.model_plots import confusion_plot, reliability_plot, scores_plot
from inat_ray.page.parts import (
    Cell,
    Number,
    Section,
    facts,
    folded,
    joined,
    missing,
    paragraph,
    picture,
    plot,
    table,
)
from inat_ray.page.pictures import jpeg
from inat_ray.run.result import Result
from inat_ray.terminal.words import interval_text, percent
from inat_ray.training.assessment import (
    Assessment,
    assess,
    calibration_error,
    class_scores,
    confident_mistakes,
    confusion_matrix,
    confusions,
    hardest_first,
    reliability,
    spread_sample,
)
from inat_ray.training.predictions import Predictions

SHOWN_PICTURES, SHOWN_MISTAKES = 30, 12
PLOTTED_CLASSES, MATRIX_CLASSES, SHOWN_CONFUSIONS = 40, 100, 20
PICTURE_SIDE = 160
"""The longest side of a picture, in pixels."""

RIGHT, WRONG = "✓", "✗"

NO_PICTURES = "The photographs are not available, so their pictures are missing here."


def model_sections(
    predictions: Predictions,
    *,
    subset: SubsetName,
    data: DataSet | None,
    result: Result | None = None,
) -> list[Section]:
    """The sections that some predictions give about their model.

    Without `data` the pictures are missing; `result` (from result.json) adds the model's size and
    the speed of its training, as far as it has them.
    """
    assessment = assess(predictions)
    pictures = Pictures(predictions, data)
    return [
        Section(
            title=f"The model on the {subset} images",
            anchor="model",
            body=facts(_scores(assessment) + _costs(result or {})),
        ),
        Section(title="Class by class", anchor="model-classes", body=_classes(assessment)),
        Section(title="Confusion matrix", anchor="model-confusions", body=_confusions(predictions)),
        Section(title="Calibration", anchor="model-calibration", body=_calibration(predictions)),
        Section(
            title=f"Some {subset} images", anchor="model-pictures", body=_sample(pictures, subset)
        ),
        Section(
            title="The most confident mistakes", anchor="model-mistakes", body=_mistakes(pictures)
        ),
    ]


class Pictures:
    """The pictures that belong to rows of some predictions, as far as they are available."""

    def __init__(self, predictions: Predictions, data: DataSet | None) -> None:
        self.predictions = predictions
        self.data = data
        self._indices = {} if data is None else {n: i for i, n in enumerate(data.pack.names)}

    def of(self, rows: Sequence[int], *, both: bool = False) -> Markup:
        """Shows each row with prediction and truth; `both` adds the truth's probability."""
        held = [row for row in rows if self.predictions.paths[row] in self._indices]
        parts = []
        if held:
            shown = (self._one(row, both=both) for row in held)
            parts.append(Markup('<ul class="pictures">{}</ul>').format(Markup("").join(shown)))
        if self.data is None:
            parts.append(missing(NO_PICTURES))
        elif len(held) < len(rows):
            lost = len(rows) - len(held)
            parts.append(missing(f"Images no longer among the photographs: {lost} of {len(rows)}."))
        return joined(*parts)

    def _one(self, row: int, *, both: bool) -> Markup:
        assert self.data is not None
        said = self.predictions
        right = bool(said.correct[row])
        prediction, truth = said.classes[said.predictions[row]], said.classes[said.truths[row]]
        caption = Markup("<b>{}\N{NO-BREAK SPACE}{}</b> {}").format(
            RIGHT if right else WRONG, prediction, brief(said.confidences[row])
        )
        if not right:
            of_truth = brief(said.probabilities[row, said.truths[row]]) if both else ""
            caption += Markup("<br>is {} {}").format(truth, of_truth)
        shown = picture(
            jpeg(self.data.pack.images[self._indices[said.paths[row]]], most=PICTURE_SIDE),
            alt=f"{said.paths[row]}: {truth}, {'correctly' if right else 'wrongly'} classified as"
            f" {prediction}",
            caption=caption,
            kind="jpeg",
        )
        return Markup('<li class="{}">{}</li>').format("right" if right else "wrong", shown)


def brief(share: float) -> str:
    """'75 %', which does not break; empty for NaN."""
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%" if np.isfinite(share) else ""


def _scores(assessment: Assessment) -> list[tuple[str, str | Markup]]:
    found: list[tuple[str, str | Markup]] = [
        (
            "accuracy",
            f"{percent(assessment.accuracy)}"
            f" (95 % interval {interval_text(assessment.accuracy_interval)})",
        ),
        ("images", f"{assessment.images:,}"),
        ("loss (cross-entropy, nats)", f"{assessment.loss:.3f}"),
    ]
    shares = {
        "top-5 accuracy": assessment.top5_accuracy,
        "macro precision": assessment.macro_precision,
        "macro recall": assessment.macro_recall,
        "macro F1": assessment.macro_f1,
        "expected calibration error": assessment.ece,
    }
    return found + [(name, percent(share)) for name, share in shares.items() if share is not None]


def _costs(result: Result) -> list[tuple[str, str | Markup]]:
    titles = {
        "parameters": "parameters",
        "trainable_parameters": "of them trained",
        "macs": "multiply-accumulates an image",
        "images_per_second": "images/s in training",
    }
    known = [(title, result.get(key)) for key, title in titles.items()]
    return [(title, f"{value:,.0f}") for title, value in known if value is not None]


def _classes(assessment: Assessment) -> Markup:
    hardest = hardest_first(assessment.classes)
    shown = hardest[:PLOTTED_CLASSES]
    cut = len(shown) < len(hardest)
    caption = f"The {len(shown)} classes with the lowest F1; the table has all." if cut else ""
    rows: list[list[Cell | Number]] = [
        [
            scores.name,
            scores.images,
            scores.predicted,
            *(share_cell(share) for share in (scores.precision, scores.recall, scores.f1)),
        ]
        for scores in hardest
    ]
    drawn = plot(
        scores_plot(shown),
        label="Recall, precision and F1 of each class; the table below has the numbers",
        caption=caption,
        height=130 + 24 * len(shown),
    )
    numbers = table(
        ("class", "images", "predicted", "precision", "recall", "F1"),
        rows,
        caption="Precision: the share of the images predicted as the class that belong to it;"
        " recall: the share of its images that were found; F1: their harmonic mean. A dash: no"
        " such image.",
    )
    return joined(drawn, folded(numbers, summary=f"All {len(rows)} classes") if cut else numbers)


def _confusions(predictions: Predictions) -> Markup:
    pairs = confusions(predictions)
    hardest = hardest_first(class_scores(predictions))[:MATRIX_CLASSES]
    names = {scores.name for scores in hardest}
    shown = [label for label, name in enumerate(predictions.classes) if name in names]
    cut = len(shown) < len(predictions.classes)
    drawn = plot(
        confusion_plot(confusion_matrix(predictions), predictions.classes, shown=shown),
        label="Confusion matrix: images by truth and prediction; the table below has the most"
        " frequent confusions",
        caption="A row holds the images of a class. Color: share of the row; a cell that never"
        " occurred is empty."
        + (f" Of all classes the {len(shown)} with the lowest F1." if cut else ""),
        height=min(860, 200 + 44 * len(shown)) + 5 * min(20, max(map(len, names))),
    )
    if not pairs:
        return joined(drawn, paragraph("No image was classified wrongly."))
    rows: list[list[Cell | Number]] = [
        [pair.truth, pair.prediction, pair.images, share_cell(pair.share)]
        for pair in pairs[:SHOWN_CONFUSIONS]
    ]
    more = len(pairs) - len(rows)
    caption = "The most frequent confusions" + (f"; {more} more pairs occur." if more else ".")
    columns = ("truth", "prediction", "images", "share of the class")
    return joined(drawn, table(columns, rows, caption=caption))


def _calibration(predictions: Predictions) -> Markup:
    bins = reliability(predictions)
    ece = calibration_error(bins)
    if ece is None:
        return missing("The model gave no finite probability.")
    return plot(
        reliability_plot(bins),
        label="Reliability curve: accuracy against confidence, and images by confidence",
        caption=f"Expected calibration error {percent(ece)}: the mean absolute"
        " difference between confidence and accuracy over the images, in"
        f" {BINS} bins of equal width (Guo et al. 2017)."
        " Bars are 95 % intervals; below the dashed line the model is too sure of itself.",
        height=480,
    )


def _sample(pictures: Pictures, subset: SubsetName) -> Markup:
    rows = spread_sample(pictures.predictions, SHOWN_PICTURES)
    note = (
        f"{len(rows)} of the {len(pictures.predictions):,} {subset} images, drawn at random, class"
        f" by class in turn, without regard to the predictions. {RIGHT} right, {WRONG} wrong; with"
        " the probability of the prediction."
    )
    return joined(paragraph(note), pictures.of(rows))


def _mistakes(pictures: Pictures) -> Markup:
    rows = confident_mistakes(pictures.predictions, SHOWN_MISTAKES)
    if not rows:
        return paragraph("The model made no mistake.")
    note = (
        "Mistakes of which the model is surest, with the probability of its prediction and of"
        " the truth. Some of the labels may be wrong."
    )
    return joined(paragraph(note), pictures.of(rows, both=True), _mistakes_table(pictures, rows))


def _mistakes_table(pictures: Pictures, rows: Sequence[int]) -> Markup:
    said = pictures.predictions
    cells: list[list[Cell | Number]] = [
        [
            said.paths[row],
            said.classes[said.truths[row]],
            said.classes[said.predictions[row]],
            share_cell(float(said.confidences[row])),
            share_cell(float(said.probabilities[row, said.truths[row]])),
        ]
        for row in rows
    ]
    columns = ("image", "truth", "prediction", "its probability", "the truth's")
    return table(columns, cells, caption="The same mistakes, by the paths of their images.")
