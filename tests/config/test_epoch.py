"""The numbers of an epoch: which of two is better, and when a training has diverged."""

import math
import pickle
from typing import get_args

import pytest

from inat_ray.config.epoch import EpochMetrics
from inat_ray.config.metrics import METRICS, MetricName


def epoch(**changes: float) -> EpochMetrics:
    values = {"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 2.0}
    values |= {"val_accuracy": 0.25, "val_balanced_accuracy": 0.2}
    return EpochMetrics(**(values | {"lr": 0.1, "seconds": 1, "images_per_second": 9} | changes))


def test_every_metric_is_a_field_and_has_a_goal() -> None:
    assert set(get_args(MetricName)) == METRICS.keys()
    assert METRICS.keys() <= EpochMetrics.model_fields.keys()


def test_a_metric_that_an_older_log_lacks_is_nan_and_no_result() -> None:
    assert math.isnan(epoch().score("val_macro_f1"))
    assert epoch().metrics().keys() == {"val_accuracy", "val_balanced_accuracy", "val_loss"}


def test_an_epoch_can_be_sent_from_a_worker_to_the_driver() -> None:
    sent = epoch(val_ece=0.25, val_macro_f1=0.5)
    assert pickle.loads(pickle.dumps(sent)) == sent


def test_a_higher_score_is_a_better_epoch() -> None:
    assert epoch(val_loss=1.0).score("val_loss") > epoch(val_loss=2.0).score("val_loss")
    assert epoch(val_accuracy=1.0).score("val_accuracy") > epoch().score("val_accuracy")


@pytest.mark.parametrize("loss", ["train_loss", "val_loss"])
def test_a_loss_that_is_not_finite_is_divergence(loss: str) -> None:
    assert epoch(**{loss: math.nan}).diverged
    assert epoch(**{loss: math.inf}).diverged
    assert not epoch().diverged


def test_an_epoch_survives_json_even_with_nan() -> None:
    written = epoch(val_loss=math.nan).model_dump_json()
    assert '"val_loss":NaN' in written
    assert math.isnan(EpochMetrics.model_validate_json(written).val_loss)


@pytest.mark.parametrize("accuracy", [-0.1, 1.1])
def test_an_accuracy_lies_between_0_and_1(accuracy: float) -> None:
    with pytest.raises(ValueError, match="should be 0 to 1"):
        epoch(val_accuracy=accuracy)
