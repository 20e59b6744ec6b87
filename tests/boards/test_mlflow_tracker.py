"""Told to a real MLflow, with a database in a file."""

import math

import pytest
from mlflow import MlflowClient

from inat_ray.boards.mlflow_tracker import MlflowTracker, check_mlflow
from inat_ray.boards.tracking_observer import TrackingObserver
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.tracking import MlflowConfig
from tests.made_up_sweep import ACCURACIES, STARTED


@pytest.fixture(scope="module")
def uri(tmp_path_factory) -> str:
    """A database takes seconds to be made."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def config(uri, request) -> MlflowConfig:
    return MlflowConfig(uri=uri, experiment=request.node.name)


def tell(config: MlflowConfig, records, past=()) -> None:
    said: list[str] = []
    tracker = MlflowTracker(config, name="made_up")
    observer = TrackingObserver(tracker, Experiment(), tell=said.append, past=past)
    for record in records:
        observer(record)
    observer.close()
    assert said[-1].startswith("MLflow: mlflow ui"), said


def runs_of(config: MlflowConfig) -> dict:
    client = MlflowClient(config.uri)
    experiment = client.get_experiment_by_name(config.experiment)
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def series(config: MlflowConfig, run, tag: str) -> list[tuple[int, float]]:
    metrics = MlflowClient(config.uri).get_metric_history(run.info.run_id, tag)
    return sorted((metric.step, metric.value) for metric in metrics)


def test_a_sweep_is_a_run_and_its_trials_are_runs_below_it(config, sweep):
    tell(config, sweep)
    runs = runs_of(config)
    [parent] = [run for name, run in runs.items() if name not in ACCURACIES]
    assert parent.info.status == "KILLED"  # the made-up sweep never came to its end
    assert parent.data.params["recipe.optimizer"] == "adamw"
    statuses = {}
    for name, accuracies in ACCURACIES.items():
        run = runs[name]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert series(config, run, "val/accuracy") == list(enumerate(accuracies, start=1))
        statuses[name] = (run.info.status, run.data.tags["state"])
    assert statuses == {
        "trial_0000": ("FINISHED", "finished"),
        "trial_0001": ("FINISHED", "stopped"),
        "trial_0002": ("FAILED", "diverged"),
        "trial_0003": ("FAILED", "failed"),
        "trial_0004": ("KILLED", "interrupted"),
        "trial_0005": ("KILLED", "interrupted"),
    }
    trial = runs["trial_0000"]
    assert trial.data.params["model.filters"] == "[32, 64]"
    assert (trial.data.metrics["score"], trial.data.metrics["best_epoch"]) == (0.9, 2)
    assert trial.info.start_time == 1000 * (STARTED + 1)
    assert math.isnan(runs["trial_0002"].data.metrics["val/loss"])


def test_a_run_that_goes_on_is_the_same_run_there(config, sweep):
    tell(config, sweep[:3])
    tell(config, sweep[3:], past=sweep[:3])
    assert runs_of(config).keys() - ACCURACIES.keys() == {name_of_sweep(config)}
    trial = runs_of(config)["trial_0000"]
    assert series(config, trial, "val/accuracy") == [(1, 0.5), (2, 0.9), (3, 0.8)]
    assert trial.info.status == "FINISHED"


def name_of_sweep(config: MlflowConfig) -> str:
    [name] = runs_of(config).keys() - ACCURACIES.keys()
    return name


def test_an_address_that_does_not_answer_is_refused_without_its_password(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    with pytest.raises(UserError) as error:
        check_mlflow(MlflowConfig(), name="made_up")
    assert "http://127.0.0.1:9 does not answer" in str(error.value)
    assert "secret" not in str(error.value)


def test_a_deleted_experiment_is_refused(config):
    client = MlflowClient(config.uri)
    client.delete_experiment(client.create_experiment(config.experiment))
    with pytest.raises(UserError, match="was deleted"):
        check_mlflow(config, name="made_up")


def test_the_experiments_name_is_the_default(uri, sweep):
    config = MlflowConfig(uri=uri)
    check_mlflow(config, name="made_up")
    tracker = MlflowTracker(config, name="made_up")
    observer = TrackingObserver(tracker, Experiment(), tell=lambda _: None)
    observer(sweep[0])
    observer.close()
    assert MlflowClient(uri).get_experiment_by_name("made_up") is not None
