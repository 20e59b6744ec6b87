import pytest

from inat_ray.config.difference import differences
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.config.tracking import TrackingConfig


def test_nobody_is_told_by_default():
    assert Experiment().tracking.to == []


@pytest.mark.parametrize(
    "uri",
    [
        "http://me:secret@host",
        "https://secret@host",
        "https://host/mlflow?token=secret",
        "https://host/#secret",
        "postgresql://host/db?password=secret",
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(uri):
    with pytest.raises(UserError, match="MLFLOW_TRACKING_PASSWORD") as error:
        load_experiment(None, settings=[f"tracking.mlflow.uri={uri}"])
    assert "secret" not in str(error.value)


def test_an_unknown_tracker_is_refused_with_those_that_are_known():
    with pytest.raises(UserError, match="'wandb' or 'mlflow'"):
        load_experiment(None, settings=["tracking.to=[comet]"])


def test_a_run_can_go_on_with_other_trackers():
    told = Experiment(tracking=TrackingConfig(to=["wandb"]))
    assert differences(Experiment(), told) == []
