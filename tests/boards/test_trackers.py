import subprocess
import sys

import pytest

from inat_ray.boards import trackers as choice
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.tracking import MlflowConfig, TrackingConfig, WandbConfig
from inat_ray.run.folder import RunFolder


def experiment(tmp_path, *names: str) -> Experiment:
    return Experiment(
        tracking=TrackingConfig(
            to=list(names),
            wandb=WandbConfig(mode="offline"),
            mlflow=MlflowConfig(uri=f"sqlite:///{tmp_path}/mlflow.db"),
        )
    )


def test_nobody_is_told_unless_asked_for(tmp_path):
    choice.check_trackers(Experiment())
    assert choice.open_trackers(Experiment(), RunFolder(tmp_path)) == []
    assert not list(tmp_path.iterdir())


def test_both_can_be_told(tmp_path):
    both = experiment(tmp_path, "wandb", "mlflow")
    choice.check_trackers(both)
    trackers = choice.open_trackers(both, RunFolder(tmp_path))
    assert [tracker.title for tracker in trackers] == ["W&B", "MLflow"]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_package_that_is_not_installed_is_named(tmp_path, monkeypatch, name):
    monkeypatch.setattr(choice, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=rf"tracking.to: {name}: .*inat_ray\[{name}\]"):
        choice.check_trackers(experiment(tmp_path, name))


def test_who_asks_for_no_tracker_needs_none_of_the_packages():
    code = (
        "import sys; sys.modules['wandb'] = sys.modules['mlflow'] = None\n"
        "import inat_ray.boards.trackers, inat_ray.boards.tracking_observer"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
