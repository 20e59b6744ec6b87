"""The one place that reads the test set, and leaves a record of each look."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from inat_ray.data.dataset import DataSet
from inat_ray.data.split import SubsetName
from inat_ray.training.checkpoint import load_model
from inat_ray.training.evaluation import Evaluation
from inat_ray.tuning.run_folder import RunFolder
from inat_ray.tuning.run_log import LookAtTest, RunLog


def look_at_test(
    model_path: Path, *, data: DataSet, device: torch.device, run: RunFolder, log: RunLog
) -> LookAtTest:
    """Evaluates a saved model on the test images, once, and records that it was done.

    The predictions go into the run folder, so that a report needs no second look.
    """
    model = load_model(model_path)
    evaluation = model.evaluate(data, "test", device=device)
    predictions = run.log / f"test_predictions_{len(log.history.looks) + 1}.parquet"
    write_predictions(evaluation, data=data, split="test", path=predictions)
    look = LookAtTest(
        model=model_path.name,
        accuracy=evaluation.metrics.accuracy,
        loss=evaluation.metrics.loss,
        images=evaluation.metrics.images,
        predictions=str(predictions.relative_to(run.path)),
    )
    log.append(look)
    return look


def write_predictions(
    evaluation: Evaluation, *, data: DataSet, split: SubsetName, path: Path
) -> None:
    """A row an image: name, truth, prediction, and the probabilities by class."""
    classes = data.pack.classes
    indices = data.subset(split)
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
