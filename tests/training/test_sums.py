import numpy as np
import pytest
import torch

from inat_ray.config.metrics import METRICS
from inat_ray.training.predictions import Predictions
from inat_ray.training.scores import assess
from inat_ray.training.sums import EvaluationSums, Sums

CPU = torch.device("cpu")


def test_uneven_batches_weigh_each_example_the_same():
    sums = Sums(2, CPU)
    sums.add(torch.tensor([1.0, 2.0, 3.0]), torch.eye(2)[[0, 0, 0]], torch.tensor([0, 0, 1]))
    sums.add(torch.tensor([10.0]), torch.eye(2)[[1]], torch.tensor([1]))
    tally = sums.tally()
    assert tally.loss == 4.0
    assert tally.accuracy == 0.75
    assert tally.images == 4


def test_balanced_accuracy_is_the_mean_of_the_recalls():
    sums = Sums(3, CPU)
    labels = torch.tensor([0] * 8 + [1] * 2)
    sums.add(torch.zeros(10), torch.eye(3)[torch.zeros(10, dtype=torch.int64)], labels)
    tally = sums.tally()
    assert tally.accuracy == 0.8
    assert METRICS["val_balanced_accuracy"].compute(tally) == pytest.approx(0.5)


@pytest.fixture
def predictions() -> Predictions:
    """Of 40 images of 3 classes; 0.2 and 0.4 are ends of bins."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], size=38)
    probabilities = np.vstack([probabilities, [[0.4, 0.2, 0.4], [0.2, 0.8, 0.0]]])
    return Predictions(
        paths=[str(row) for row in range(40)],
        classes=["a", "b", "c"],
        truths=rng.integers(3, size=40),
        probabilities=probabilities.astype(np.float32),
    )


def test_an_epochs_metrics_are_those_of_the_assessment_in_batches_of_any_size(predictions):
    sums = EvaluationSums(3, CPU)
    for rows in np.split(np.arange(40), [7, 7, 30]):  # one batch has no image
        probabilities = torch.from_numpy(predictions.probabilities[rows])
        sums.add(torch.zeros(len(rows)), probabilities, torch.from_numpy(predictions.truths[rows]))
    tally, assessed = sums.tally(), assess(predictions)
    assert METRICS["val_ece"].compute(tally) == pytest.approx(assessed.ece)
    assert METRICS["val_macro_f1"].compute(tally) == pytest.approx(assessed.macro_f1)
    assert METRICS["val_balanced_accuracy"].compute(tally) == pytest.approx(assessed.macro_recall)
    assert METRICS["val_accuracy"].compute(tally) == assessed.accuracy


def test_a_calibration_error_is_nan_where_a_probability_is():
    sums = EvaluationSums(2, CPU)
    sums.add(torch.zeros(2), torch.tensor([[0.5, 0.5], [torch.nan] * 2]), torch.tensor([0, 1]))
    assert np.isnan(METRICS["val_ece"].compute(sums.tally()))
