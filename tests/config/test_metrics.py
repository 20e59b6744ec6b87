import pytest
import torch

from inat_ray.config.metrics import METRICS, Tally

COUNTS = torch.tensor([[8, 2, 0], [1, 1, 0], [0, 0, 0]])
"""(truth, prediction): 10 images of the first class, 2 of the second, none of the third."""


def test_a_metric_stands_under_its_own_name():
    assert all(metric.name == name for name, metric in METRICS.items())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("val_accuracy", 9 / 12),
        ("val_balanced_accuracy", (0.8 + 0.5) / 2),
        ("val_macro_f1", (16 / 19 + 2 / 5) / 2),
        ("val_loss", 1.25),
    ],
)
def test_a_metric_is_computed_from_the_loss_and_the_confusion_matrix(name, value):
    assert METRICS[name].compute(Tally(1.25, COUNTS)) == pytest.approx(value)


def test_a_score_is_higher_where_the_metric_is_better():
    assert METRICS["val_accuracy"].score(0.9) > METRICS["val_accuracy"].score(0.8)
    assert METRICS["val_loss"].score(0.8) > METRICS["val_loss"].score(0.9)


def test_the_score_of_a_score_is_the_value():
    assert METRICS["val_loss"].score(METRICS["val_loss"].score(0.7)) == 0.7
