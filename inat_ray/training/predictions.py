"""A model's predictions for every image of a subset, and the Parquet file that keeps them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from inat_ray.config.errors import UserError, readable
from inat_ray.data.dataset import DataSet
from inat_ray.data.split import SubsetName
from inat_ray.training.evaluation import Evaluation

TEXTS = ("path", "truth", "prediction")
"""The columns beside `probabilities`: the image's path below the data folder, and two classes."""


@dataclass(frozen=True)
class Predictions:
    """The predictions for n images of C classes, each image once."""

    paths: list[str]
    """Paths below the data folder, as the pack names them."""
    classes: list[str]
    truths: NDArray[np.int64]
    """(n,), indices into `classes`."""
    probabilities: NDArray[np.float32]
    """(n, C); a row is NaN if the model gave NaN."""

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def predictions(self) -> NDArray[np.int64]:
        """(n,): the likeliest class, the first of equals; class 0 where a row is NaN."""
        labels: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return labels

    @cached_property
    def confidences(self) -> NDArray[np.float64]:
        """(n,): the probability of the prediction; NaN where a row is."""
        highest: NDArray[np.float64] = self.probabilities.max(axis=1).astype(np.float64)
        return highest

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """(n,)"""
        right: NDArray[np.bool_] = self.predictions == self.truths
        return right

    def told(self, row: int) -> tuple[str, str, str, float, float]:
        """Returns an image's path, truth, prediction, and the probabilities of these two classes:
        that of the prediction first."""
        truth, prediction = self.truths[row], self.predictions[row]
        of_truth = float(self.probabilities[row, truth])
        names = self.paths[row], self.classes[truth], self.classes[prediction]
        return *names, float(self.confidences[row]), of_truth


def predictions_of(evaluation: Evaluation, *, data: DataSet, subset: SubsetName) -> Predictions:
    """Adds the names of the images to an evaluation."""
    return Predictions(
        paths=[data.pack.names[index] for index in data.subset(subset)],
        classes=data.classes,
        truths=evaluation.labels.numpy(),
        probabilities=evaluation.probabilities.numpy(),
    )


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Writes a row for each image, in the columns of `TEXTS` and `probabilities`."""
    names = np.array(predictions.classes, dtype=object)
    flat = pa.array(predictions.probabilities.ravel())
    columns = {
        "path": predictions.paths,
        "truth": names[predictions.truths],
        "prediction": names[predictions.predictions],
        "probabilities": pa.FixedSizeListArray.from_arrays(flat, len(predictions.classes)),
    }
    table = pa.table(columns, schema=predictions_schema(TEXTS, predictions.classes))
    pq.write_table(table, path, write_page_checksum=True)


def read_predictions(path: Path) -> Predictions:
    """Reads what `write_predictions` wrote. Raises UserError if the file is absent or another."""
    with readable(path, remedy="evaluate makes the predictions again"):
        table = pq.ParquetFile(path, page_checksum_verification=True).read()
        about = table.schema.metadata or {}
        classes = _classes(about[b"classes"].decode())
        schema = predictions_schema(TEXTS, classes)
        table = table.select(schema.names).cast(schema)
        labels = {name: label for label, name in enumerate(classes)}
        truths = [labels[name] for name in table["truth"].to_pylist()]
        flat = table["probabilities"].combine_chunks().flatten().to_numpy()
    if not truths:
        raise UserError(f"{path}: holds the predictions of no image")
    return Predictions(
        paths=table["path"].to_pylist(),
        classes=classes,
        truths=np.array(truths, dtype=np.int64),
        probabilities=flat.reshape(-1, len(classes)),
    )


def _classes(written: str) -> list[str]:
    """Reads the names of the classes; earlier versions wrote one a line."""
    try:
        names = json.loads(written)
    except ValueError:
        return written.split("\n")
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError(f"classes are no list of names: {written[:40]}")
    return names


def predictions_schema(texts: Sequence[str], classes: Sequence[str]) -> pa.Schema:
    """Returns the columns of a file of predictions: `texts`, and a number for each class.

    The metadata has, under `classes`, the names of the classes in that order, as a JSON list.
    """
    names = [pa.field(name, pa.string(), nullable=False) for name in texts]
    numbers = pa.list_(pa.field("item", pa.float32()), len(classes))
    probabilities = pa.field("probabilities", numbers, nullable=False)
    return pa.schema([*names, probabilities], metadata={"classes": json.dumps(classes)})
