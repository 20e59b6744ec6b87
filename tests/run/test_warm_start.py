from pathlib import Path

import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.space import search_space
from inat_ray.log.records import TrialEnded, TrialStarted
from inat_ray.log.run_log import RunLog
from inat_ray.run.warm_start import AUTO, warm_start, warm_starts
from inat_ray.search.agenda import run_started
from tests.run.made_up_runs import create_run
from tests.search.histories import epoch_of, experiment_of

POINTS = (
    ({"recipe.lr": 0.1, "model.dense": 8}, 2),
    ({"recipe.lr": 0.01, "model.dense": 32}, 3),
    ({"recipe.lr": 0.001, "model.dense": 16}, 0),
)
"""Of the other run's trials, with how many epochs each has."""


def searched(path: Path, experiment=None, points=POINTS) -> Path:
    """A run of these trials."""
    experiment = experiment or experiment_of()
    run = create_run(path, experiment, overwrite=False)
    with RunLog(run.log) as log:
        log.append(run_started(experiment, search_space(experiment)))
        for number, (parameters, epochs) in enumerate(points):
            name = f"trial_{number:04d}"
            log.append(TrialStarted(trial_id=name, seed=0, parameters=parameters, epochs=9))
            for epoch in range(1, epochs + 1):
                log.append(epoch_of(name, epoch, 0.1 * epoch))
            log.append(TrialEnded(trial_id=name, state="stopped"))
    return run.path


@pytest.fixture
def other(tmp_path):
    """A run over rates and dense neurons: three trials, one of them without an epoch."""
    return searched(tmp_path / "other")


def told(other, **search):
    experiment = experiment_of(method="bayes", **search)
    return warm_start(other, experiment, search_space(experiment))


def test_the_trials_with_a_result_are_told_with_their_curves(other):
    known = told(other).trials
    assert [k.values for k in known] == [[0.1, 0.2], [0.1, 0.2, pytest.approx(0.3)]]
    assert known[0].parameters == {"recipe.lr": 0.1, "model.dense": 8}
    assert known[1].source == f"{other} trial_0001"


def test_a_trial_with_a_value_that_the_space_has_not_is_left_out_and_said(other):
    found = told(other, parameters={"recipe.lr": {"min": 0.05, "max": 0.2}})
    assert [k.parameters for k in found.trials] == [{"recipe.lr": 0.1}]
    assert found.notes == (
        "2 left out: their recipe.lr is outside of this space",
        "varied there alone: model.dense",
    )


def test_a_parameter_that_was_fixed_there_has_its_value_of_then(other):
    dropout = {"model.dropout": {"min": 0.0, "max": 0.5}}
    found = told(other, parameters={"recipe.lr": {"values": [0.1, 0.01]}} | dropout)
    assert [k.parameters["model.dropout"] for k in found.trials] == [0.0, 0.0]


def test_without_a_value_that_was_fixed_there_all_trials_are_told(other):
    dropout = {"model.dropout": {"min": 0.1, "max": 0.5}}
    found = told(other, parameters={"recipe.lr": {"min": 0.001, "max": 0.2}} | dropout)
    assert [k.parameters for k in found.trials] == [{"recipe.lr": 0.1}, {"recipe.lr": 0.01}]
    assert "told without model.dropout: fixed there, outside of this space" in found.notes


def test_trials_of_another_kind_of_model_are_left_out(tmp_path):
    kinds = {"model.kind": {"values": ["cnn", "pretrained"]}, "recipe.lr": {"values": [0.1, 0.01]}}
    points = [({"model.kind": kind, "recipe.lr": 0.1}, 1) for kind in ("pretrained", "cnn")]
    other = searched(tmp_path / "other", experiment_of(parameters=kinds), points)
    dense = {"model.dense": {"values": [128]}}  # a CNN's own default, which no other kind has
    found = told(other, parameters={"recipe.lr": {"values": [0.1]}} | dense)
    assert [k.source for k in found.trials] == [f"{other} trial_0001"]
    assert "1 left out: their model.kind is pretrained" in found.notes


def test_a_run_of_another_metric_is_refused(other):
    with pytest.raises(UserError, match="its metric is val_accuracy; this search's is val_loss"):
        told(other, metric={"name": "val_loss", "goal": "minimize"})


def test_a_run_that_varied_nothing_of_the_space_is_refused(other):
    with pytest.raises(UserError, match="varies no parameter of this search"):
        told(other, parameters={"model.dropout": {"min": 0.0, "max": 0.5}})


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        told(tmp_path)


def test_auto_takes_the_runs_beside_the_new_one_and_says_why_not_the_others(tmp_path):
    searched(tmp_path / "below" / "first")
    searched(tmp_path / "own")
    rates = {"recipe.lr": {"values": [0.1, 0.01]}}
    searched(tmp_path / "second", experiment_of(parameters=rates), [({"recipe.lr": 0.1}, 1)])
    dropout = {"model.dropout": {"values": [0.1, 0.2]}}
    searched(tmp_path / "third", experiment_of(parameters=dropout), [])
    experiment = experiment_of(method="bayes")
    sources = [AUTO, tmp_path / "second"]
    found = warm_starts(sources, experiment, search_space(experiment), out=tmp_path / "own")
    assert [(str(s.path.relative_to(tmp_path)), len(s.trials)) for s in found] == [
        ("below/first", 2),
        ("second", 1),
        ("third", 0),
    ]
    assert found[2].notes == ("varies no parameter of this search",)


def test_where_no_runs_are_there_is_nothing_to_know(tmp_path):
    experiment = experiment_of(method="bayes")
    space = search_space(experiment)
    assert warm_starts([AUTO], experiment, space, out=tmp_path / "runs" / "own") == []
