"""The one place that reads the test set, and leaves a record of each look."""

import torch

from inat_ray.data.dataset import DataSet
from inat_ray.log.records import LookAtTest
from inat_ray.log.run_log import RunLog
from inat_ray.run.folder import RunFolder
from inat_ray.training.checkpoint import LoadedModel
from inat_ray.training.predictions import predictions_of, write_predictions
from inat_ray.training.scores import calibration_error, reliability


def look_at_test(
    model: LoadedModel, *, data: DataSet, device: torch.device, run: RunFolder, log: RunLog
) -> LookAtTest:
    """Evaluates a saved model on the test images, once, and records that it was done.

    The predictions go into the run folder, so that a report needs no second look.
    """
    evaluation = model.evaluate(data, "test", device=device)
    predictions = predictions_of(evaluation, data=data, subset="test")
    path = run.log / f"test_predictions_{len(log.history.looks) + 1}.parquet"
    write_predictions(predictions, path)
    # Before its record: a look without predictions would have to be repeated, and count twice.
    run.keep(path)
    look = LookAtTest(
        model=model.path.name,
        accuracy=evaluation.tally.accuracy,
        loss=evaluation.tally.loss,
        images=evaluation.tally.images,
        ece=calibration_error(reliability(predictions)),
        predictions=str(path.relative_to(run.path)),
    )
    log.append(look)
    return look
