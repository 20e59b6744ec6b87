import subprocess
import sys
from pathlib import Path

import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import dump_experiment
from inat_ray.config.space import search_space
from inat_ray.log.records import RunResumed, SearchEnded, TrialEnded, TrialStarted
from inat_ray.log.run_log import RunLog
from inat_ray.run.folder import RunFolder
from inat_ray.search.agenda import run_started
from inat_ray.search.steering import FINISH, Request
from inat_ray.tuning.plan import Plan, new_plan, resumed_plan
from tests.log.made_up_logs import ended, started
from tests.run.made_up_runs import create_run, make_run, search_records
from tests.search.histories import epoch_of, experiment_of

NOTHING = {"path": None, "settings": (), "options": {}}
"""Nothing is given beside the run."""


@pytest.fixture
def experiment() -> Experiment:
    parameters = {"recipe.lr": {"values": [0.1, 0.01]}}
    return experiment_of(parameters=parameters, method="random", trials=2)


@pytest.fixture
def run(tmp_path, experiment) -> RunFolder:
    """A search whose process died after its first record."""
    run = create_run(tmp_path / "run", experiment, overwrite=False)
    add(run, run_started(experiment, search_space(experiment)))
    return run


def add(run: RunFolder, record) -> None:
    with RunLog(run.log) as log:
        log.append(record)


def new(folder: Path, experiment: Experiment, *settings: str, **given) -> Plan:
    path = folder / "experiment.yaml"
    path.write_text(dump_experiment(experiment))
    return new_plan(path, settings=settings, options={}, out=None, overwrite=False, **given)


def test_a_new_sweep_is_planned_from_its_experiment_alone(tmp_path, experiment):
    plan = new(tmp_path, experiment, "search.trials=7")
    assert (plan.is_new, plan.folder) == (True, None)
    assert plan.experiment.search.trials == 7
    assert list(plan.space.parameters) == ["recipe.lr"]


def test_a_sweep_that_varies_nothing_is_refused(tmp_path, experiment):
    with pytest.raises(UserError, match=r"search\.parameters: is empty"):
        new(tmp_path, experiment.model_copy(update={"search": Experiment().search}))


def test_only_a_searcher_that_learns_is_told_of_other_runs(tmp_path, experiment):
    with pytest.raises(UserError, match=r"--warm-start: only search\.method bayes learns"):
        new(tmp_path, experiment, warm_start=[tmp_path])


def test_a_sweep_that_was_cut_off_goes_on_with_its_own_experiment(run, experiment):
    plan = resumed_plan(run.path, **NOTHING)
    assert (plan.is_new, plan.folder, plan.present) == (False, run.path, plan.space)
    assert plan.experiment == experiment


def test_what_the_machine_has_may_change_and_nothing_else(run):
    given = NOTHING | {"settings": ["resources.max_concurrent=1"]}
    assert resumed_plan(run.path, **given).experiment.resources.max_concurrent == 1
    with pytest.raises(UserError, match=r"this one differs: recipe\.momentum"):
        resumed_plan(run.path, **NOTHING | {"settings": ["recipe.momentum=0.5"]})
    with pytest.raises(UserError, match=r"a new sweep with --warm-start .*run knows what"):
        resumed_plan(run.path, **NOTHING | {"options": {"seed": ("--seed", 5)}})
    with pytest.raises(UserError, match=r"storage_path: stays what it was.*: none"):
        resumed_plan(run.path, **NOTHING | {"settings": ["resources.storage_path=/elsewhere"]})


def test_a_complete_sweep_goes_on_only_with_more_to_do(run):
    add(run, SearchEnded(reason="trials"))
    assert resumed_plan(run.path, **NOTHING).folder == run.path  # its winner is to be trained
    add_trials(run, 1)
    run.result.write_text('{"search": {}}')
    for request in ({}, {"request": FINISH}):
        with pytest.raises(UserError, match=r"the sweep is complete.*if N is above 1"):
            resumed_plan(run.path, **NOTHING, **request)
    more = Request(trials=2)
    assert resumed_plan(run.path, **NOTHING, request=more).request == more
    add_trials(run, 2, first=1)
    with pytest.raises(UserError, match=r"has ended after 2 trials.* to have 2; --trials above 2"):
        resumed_plan(run.path, **NOTHING, request=Request(trials=3))  # the space has no third point


def add_trials(run: RunFolder, count: int, *, first: int = 0) -> None:
    for number, lr in list(enumerate((0.1, 0.01)))[first:count]:
        trial = {"trial_id": f"trial_{number:04d}"}
        add(run, TrialStarted(**trial, seed=number, parameters={"recipe.lr": lr}, epochs=9))
        add(run, epoch_of(trial["trial_id"], 1, 0.5))
        add(run, TrialEnded(**trial, state="stopped"))


def test_a_search_without_a_result_is_not_finished(run):
    with pytest.raises(UserError, match=r"no trial has a result; --resume .* goes on"):
        resumed_plan(run.path, **NOTHING, request=FINISH, option="--finish")
    add_trials(run, 1)
    assert resumed_plan(run.path, **NOTHING, request=FINISH).request == FINISH


def test_fewer_trials_than_have_begun_are_said_to_go_on(run):
    add_trials(run, 2)
    (note,) = resumed_plan(run.path, **NOTHING, request=Request(trials=1)).notes
    assert note == "2 trials have begun: they go on, and no other one begins"


def test_the_present_space_is_the_one_that_was_asked_for(run):
    asked = Request(settings=("search.parameters.recipe.lr.values=[0.1]",))
    plan = resumed_plan(run.path, **NOTHING, request=asked)
    assert plan.present.parameters["recipe.lr"].values == (0.1,)
    assert plan.space.parameters["recipe.lr"].values == (0.1, 0.01)


@pytest.fixture
def finished(tmp_path, experiment) -> Path:
    """A search whose second trial won, and whose third one failed."""
    records = search_records()
    records[1] = records[1].model_copy(update={"seed": 3})  # the start of the first one
    records[7:7] = [started("c"), ended("c", "failed", "no room")]
    result = {"test_accuracy": 0.6}
    return make_run(tmp_path / "over", records, result=result, **experiment.model_dump())


def test_another_trial_is_picked_from_a_finished_run(finished):
    plan = resumed_plan(finished, **NOTHING, request=Request(pick="a"))
    assert (plan.request.pick, plan.folder, plan.is_new) == ("a", finished, False)


def test_an_extended_sweep_that_was_killed_before_its_winner_was_trained_is_not_complete(finished):
    """Also between two rounds of its confirmation, of which nothing is cut off then."""
    run = RunFolder(finished)
    run.result.write_text('{"search": {"trials": {"finished": 2, "failed": 1}}}')
    with pytest.raises(UserError, match="the sweep is complete"):
        resumed_plan(finished, **NOTHING)
    more = [started("d"), ended("d"), SearchEnded(reason="trials")]
    for record in [RunResumed(trials=4, extended=True), *more]:
        add(run, record)
    assert resumed_plan(finished, **NOTHING).folder == finished
    with pytest.raises(UserError, match=r"--pick a: the run in .* is cut off"):
        resumed_plan(finished, **NOTHING, request=Request(pick="a"))


def test_a_run_of_train_is_no_sweep(tmp_path, experiment):
    run = create_run(tmp_path / "run", experiment, overwrite=False)
    add(run, run_started(experiment))
    with pytest.raises(UserError, match="is a run of train"):
        resumed_plan(run.path, **NOTHING)


def test_a_plan_is_made_before_pytorch_or_ray_are_imported():
    """They take seconds, and a mistake in the options is answered at once."""
    code = "import sys, inat_ray.sweep; assert not {'torch', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
