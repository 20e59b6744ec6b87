"""Pictures with what a model predicts for them."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from inat_ray.data.dataset import DataSet
from inat_ray.page.html import Cell, folded, missing, picture, table
from inat_ray.page.metrics import share_cell
from inat_ray.page.pictures import jpeg
from inat_ray.training.predictions import Predictions

PICTURE_SIDE = 160
"""The longest side of a picture, in pixels."""

RIGHT, WRONG = "✓", "✗"


class Pictures:
    """The pictures that belong to rows of some predictions, as far as they are available."""

    def __init__(self, predictions: Predictions, data: DataSet | None) -> None:
        self.predictions = predictions
        self.pack = None if data is None else data.pack
        names = [] if data is None else data.pack.names
        self._indices = {name: index for index, name in enumerate(names)}

    def shown(self, rows: Sequence[int], *, both: bool = False) -> list[Markup]:
        """Shows each row with prediction and truth; `both`: of mistakes alone, which need no mark,
        with the probability of the label, which may be what is wrong."""
        if self.pack is None:
            text = "The photographs are not available, so their pictures are missing here."
            return [missing(text)]
        held = [row for row in rows if self.predictions.paths[row] in self._indices]
        parts = []
        if held:
            cells = (self._one(self.pack.images, row, both=both) for row in held)
            parts.append(Markup('<ul class="pictures">{}</ul>').format(Markup("").join(cells)))
        if lost := len(rows) - len(held):
            parts.append(missing(f"Images no longer among the photographs: {lost} of {len(rows)}."))
        return parts

    def with_files(self, rows: Sequence[int], *, most: int) -> list[Markup]:
        """Shows the first of the rows with both probabilities, and names the files of all."""
        cells: list[list[Cell]] = [
            [name, truth, prediction, share_cell(of_prediction), share_cell(of_truth)]
            for name, truth, prediction, of_prediction, of_truth in map(self.predictions.told, rows)
        ]
        columns = ("image", "truth", "prediction", "its probability", "the truth's")
        caption = f"The same {len(rows)} images." if len(rows) <= most else f"All {len(rows)}."
        files = folded(table(columns, cells, caption=caption), summary="Their files")
        return [*self.shown(rows[:most], both=True), files]

    def _one(self, images: np.ndarray, row: int, *, both: bool) -> Markup:
        said = self.predictions
        right = bool(said.correct[row])
        prediction, truth = said.classes[said.predictions[row]], said.classes[said.truths[row]]
        mark = "" if both else f"{RIGHT if right else WRONG}\N{NO-BREAK SPACE}"
        caption = Markup("<b>{}{}</b> {}").format(mark, prediction, _brief(said.confidences[row]))
        if both:
            of_truth = _brief(said.probabilities[row, said.truths[row]])
            caption += Markup("<br>labeled {} {}").format(truth, of_truth)
        elif not right:
            caption += Markup("<br>is {}").format(truth)
        shown = picture(
            jpeg(images[self._indices[said.paths[row]]], most=PICTURE_SIDE),
            alt=f"{said.paths[row]}: {truth}, {'correctly' if right else 'wrongly'} classified as"
            f" {prediction}",
            caption=caption,
            kind="jpeg",
        )
        return Markup('<li class="{}">{}</li>').format("right" if right else "wrong", shown)


def _brief(share: float) -> str:
    """Returns '75 %', which does not break; empty for NaN."""
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%" if np.isfinite(share) else ""
