import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.space import search_space
from inat_ray.log.records import TrialEnded, TrialStarted
from inat_ray.log.run_log import RunLog
from inat_ray.run.warm_start import warm_start
from inat_ray.search.agenda import run_started
from tests.run.made_up_runs import create_run
from tests.search.histories import epoch_of, experiment_of


@pytest.fixture
def other(tmp_path):
    """A run over rates and dense neurons: three trials, one of them without an epoch."""
    experiment = experiment_of()
    run = create_run(tmp_path / "other", experiment, overwrite=False)
    points = [(0.1, 8, 2), (0.01, 32, 3), (0.001, 16, 0)]
    with RunLog(run.log) as log:
        log.append(run_started(experiment, search_space(experiment)))
        for number, (rate, dense, epochs) in enumerate(points):
            name = f"trial_{number:04d}"
            parameters = {"recipe.lr": rate, "model.dense": dense}
            log.append(TrialStarted(trial_id=name, seed=0, parameters=parameters, epochs=9))
            for epoch in range(1, epochs + 1):
                log.append(epoch_of(name, epoch, 0.1 * epoch))
            log.append(TrialEnded(trial_id=name, state="stopped"))
    return run.path


def told(other, **search):
    experiment = experiment_of(method="bayes", **search)
    return warm_start(other, experiment, search_space(experiment))


def test_the_trials_with_a_result_are_told_with_their_curves(other):
    known = told(other).trials
    assert [k.values for k in known] == [[0.1, 0.2], [0.1, 0.2, pytest.approx(0.3)]]
    assert known[0].parameters == {"recipe.lr": 0.1, "model.dense": 8}
    assert known[1].source == "experiment trial_0001"


def test_a_value_that_the_space_has_not_is_left_out_and_said(other):
    found = told(other, parameters={"recipe.lr": {"min": 0.05, "max": 0.2}})
    assert [k.parameters for k in found.trials] == [{"recipe.lr": 0.1}]
    notes = " ".join(found.notes)
    assert "1 of 3 trials are told" in notes
    assert "recipe.lr: 2 trials have a value that this space has not" in notes
    assert "model.dense: varied there and not here" in notes


def test_a_parameter_that_was_fixed_there_has_its_value_of_then(other):
    found = told(other, parameters={"model.dropout": {"min": 0.0, "max": 0.5}})
    assert [k.parameters for k in found.trials] == [{"model.dropout": 0.0}] * 2


def test_a_run_of_another_metric_is_refused(other):
    with pytest.raises(UserError, match="its metric is val_accuracy; this search's is val_loss"):
        told(other, metric={"name": "val_loss", "goal": "minimize"})


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        told(tmp_path)
