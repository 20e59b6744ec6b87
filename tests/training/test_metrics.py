import pytest
import torch

from inat_ray.training.metrics import Sums

CPU = torch.device("cpu")


def test_uneven_batches_weigh_each_example_the_same():
    sums = Sums(2, CPU)
    sums.add(torch.tensor([1.0, 2.0, 3.0]), torch.eye(2)[[0, 0, 0]], torch.tensor([0, 0, 1]))
    sums.add(torch.tensor([10.0]), torch.eye(2)[[1]], torch.tensor([1]))
    metrics = sums.metrics()
    assert metrics.loss == 4.0
    assert metrics.accuracy == 0.75
    assert metrics.images == 4


def test_balanced_accuracy_is_the_mean_of_the_recalls():
    sums = Sums(3, CPU)
    labels = torch.tensor([0] * 8 + [1] * 2)
    sums.add(torch.zeros(10), torch.eye(3)[torch.zeros(10, dtype=torch.int64)], labels)
    metrics = sums.metrics()
    assert metrics.accuracy == 0.8
    assert metrics.balanced_accuracy == pytest.approx(0.5)
