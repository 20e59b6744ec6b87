"""The one place that reads the test set, and leaves a record of each look."""

from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from inat_ray.data.dataset import DataSet
from inat_ray.data.split import SubsetName
from inat_ray.search.records import LookAtTest
from inat_ray.search.run_folder import RunFolder
from inat_ray.search.run_log import RunLog
from inat_ray.training.checkpoint import LoadedModel
from inat_ray.training.evaluation import Evaluation


def look_at_test(
    model: LoadedModel, *, data: DataSet, device: torch.device, run: RunFolder, log: RunLog
) -> LookAtTest:
    """Evaluates a saved model on the test images, once, and records that it was done.

    The predictions go into the run folder, so that a report needs no second look.
    """
    evaluation = model.evaluate(data, "test", device=device)
    predictions = run.log / f"test_predictions_{len(log.history.looks) + 1}.parquet"
    write_predictions(evaluation, data=data, subset="test", path=predictions)
    run.keep(predictions)  # before its record: a second look would count as one
    look = LookAtTest(
        model=model.path.name,
        accuracy=evaluation.metrics.accuracy,
        loss=evaluation.metrics.loss,
        images=evaluation.metrics.images,
        predictions=str(predictions.relative_to(run.path)),
    )
    log.append(look)
    return look


def evaluate_split(
    model: LoadedModel,
    *,
    data: DataSet,
    subset: Literal["train", "validation"],
    device: torch.device,
    run: RunFolder,
) -> Evaluation:
    """A saved model on images that may be looked at as often as one likes."""
    evaluation = model.evaluate(data, subset, device=device)
    path = run.path / f"{subset}_predictions.parquet"
    write_predictions(evaluation, data=data, subset=subset, path=path)
    return evaluation


def write_predictions(
    evaluation: Evaluation, *, data: DataSet, subset: SubsetName, path: Path
) -> None:
    """A row an image: name, truth, prediction, and the probabilities by class."""
    classes = data.pack.classes
    indices = data.subset(subset)
    guesses = evaluation.probabilities.argmax(dim=1).tolist()
    table = pa.table(
        {
            "name": [data.pack.names[index] for index in indices],
            "truth": [classes[label] for label in evaluation.labels.tolist()],
            "prediction": [classes[guess] for guess in guesses],
            "probabilities": evaluation.probabilities.tolist(),
        }
    )
    pq.write_table(table.replace_schema_metadata({"classes": "\n".join(classes)}), path)
