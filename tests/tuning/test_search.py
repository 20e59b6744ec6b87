from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.space import search_space
from inat_ray.log.history import History
from inat_ray.log.records import RunResumed, SearchEnded, TrialEnded, TrialPaused, TrialStarted
from inat_ray.log.run_log import RunLog, read_records
from inat_ray.run.folder import RunFolder
from inat_ray.search.agenda import Work
from inat_ray.search.steering import Request, answered
from inat_ray.search.winner import winning_trial
from inat_ray.tuning import search
from inat_ray.tuning.search import begin, check_limits, run_search
from tests.run.made_up_runs import create_run
from tests.search.histories import epoch_of, experiment_of

DATA = SimpleNamespace(classes=["ash", "beech"])


@pytest.fixture(autouse=True, scope="module")
def a_disk_that_is_not_waited_for():
    with patch("os.fsync"):
        yield


def cut_off_search(folder: Path, experiment: Experiment, *records) -> RunFolder:
    """A search of `a` (two epochs), `b` (one) and `c` (none), whose process died at `records`."""
    run = create_run(folder, experiment, overwrite=False)
    with RunLog(run.log) as log:
        begin(experiment, space=search_space(experiment), log=log)
        for seed, name in enumerate("abc"):
            log.append(TrialStarted(trial_id=name, seed=seed, parameters={"x": seed}, epochs=9))
        for record in (epoch_of("a", 1, 0.1), epoch_of("a", 2, 0.2), epoch_of("b", 1, 0.5)):
            log.append(record)
        for record in records:
            log.append(record)
    (run.checkpoints / "a/epoch_0002.pt").write(b"x")
    return run


class LateRequests:
    """Requests that come after the search has found nothing more to do, and before it says so."""

    def __init__(self, *requests: Request, experiment: Experiment) -> None:
        self._left, self._experiment = list(requests), experiment

    def take_in(self, log: RunLog) -> None:
        about = {"experiment": self._experiment, "space": search_space(self._experiment)}
        if self._left and log.history.ended is None:
            (record,) = answered(self._left.pop(0), **about, history=log.history)
            log.append(record)


@pytest.fixture
def resumed(monkeypatch):
    """Carries a search on without Ray; returns its history and the trials that went on."""

    def resumed(
        experiment: Experiment, run: RunFolder, requests: LateRequests | None = None
    ) -> tuple[History, list[str]]:
        went_on = []

        def run_agenda(experiment, agenda, *, log, **_):
            while isinstance(work := agenda(log.history), Work):
                went_on.append(work.trial_id)
                log.append(work.record())
                for epoch in range(work.epochs_done + 1, 10):
                    log.append(epoch_of(work.trial_id, epoch, 0.3))
                log.append(TrialEnded(trial_id=work.trial_id, state="finished"))
            return work

        monkeypatch.setattr(search, "run_agenda", run_agenda)
        with RunLog(run.log) as log:
            log.append(RunResumed(trials=9))
            about = {"space": search_space(experiment), "data": DATA, "requests": requests}
            run_search(experiment, **about, run=run, log=log)
            return log.history, went_on

    return resumed


def test_trials_that_are_asked_for_while_a_search_ends_are_trained(tmp_path, resumed):
    parameters = {"recipe.lr": {"distribution": "uniform", "min": 0.1, "max": 0.2}}
    experiment = experiment_of(method="random", trials=3, parameters=parameters)
    ends = [TrialEnded(trial_id=name, state="finished") for name in "abc"]
    run = cut_off_search(tmp_path / "run", experiment, *ends)
    asked = [Request(trials=5), Request(settings=("search.parameters.recipe.lr.max=0.15",))]
    history, went_on = resumed(experiment, run, LateRequests(*asked, experiment=experiment))
    assert went_on == ["trial_0003", "trial_0004"]
    assert len(history.steering) == 2
    assert history.ended == "trials"


@pytest.mark.parametrize("confirm", [None, {"top": 1, "seeds": 2}])
def test_a_trial_that_was_cut_off_when_the_budget_was_spent_is_ended(tmp_path, resumed, confirm):
    experiment = experiment_of(epochs=3, confirm=confirm)
    run = cut_off_search(tmp_path / "run", experiment)
    history, went_on = resumed(experiment, run)
    assert [trial.state for trial in history.searched] == ["stopped"] * 3
    assert not history.unfinished
    assert [name.partition("_")[0] for name in went_on] == (["b", "b"] if confirm else [])
    assert run.checkpoints.names() == []


def test_so_is_one_that_a_log_of_an_earlier_version_left_behind_at_the_search_s_end(
    tmp_path, resumed
):
    experiment = experiment_of(trials=3, confirm={"top": 1, "seeds": 2})
    ends = [
        TrialEnded(trial_id="a", state="interrupted", error="the process died"),
        TrialPaused(trial_id="b"),
        TrialEnded(trial_id="c", state="failed"),
        SearchEnded(reason="epochs"),
    ]
    run = cut_off_search(tmp_path / "run", experiment, *ends)
    history, went_on = resumed(experiment, run)
    assert [trial.state for trial in history.searched] == ["stopped", "stopped", "failed"]
    assert [name.partition("_")[0] for name in went_on] == ["b", "b"]
    assert not history.unfinished


def test_a_confirmation_that_is_killed_after_any_record_trains_what_is_left(tmp_path, resumed):
    experiment = experiment_of(trials=3, confirm={"top": 3, "seeds": 3})
    ends = [TrialEnded(trial_id=name, state="finished") for name in "abc"]
    whole = cut_off_search(tmp_path / "whole", experiment, *ends, SearchEnded(reason="trials"))
    history, trained = resumed(experiment, whole)
    assert len(trained) == 2 + 2 * 2  # `c` has no result
    *records, _ = [*read_records(whole.events)]
    search = next(n for n, r in enumerate(records, start=1) if isinstance(r, SearchEnded))
    for kept in range(search, len(records) + 1):
        run = create_run(tmp_path / f"killed_{kept}", experiment, overwrite=False)
        with RunLog(run.log) as log:
            for record in records[:kept]:
                log.append(record)
        again, _ = resumed(experiment, run)
        assert {t.trial_id: t.state for t in again.confirming} == dict.fromkeys(trained, "finished")
        assert winning_trial(again).trial_id == winning_trial(history).trial_id


def checked(limits, *, dense, method="random") -> None:
    parameters = {"model.dense": dense}
    search = {"method": method, "limits": limits, "parameters": parameters}
    model = {"filters": [4] * 5, "dense": 300}
    tree = {"data": {"image_size": 32}, "model": model, "search": search}
    experiment = Experiment.model_validate(tree)
    check_limits(experiment, search_space(experiment), classes=2)


def test_limits_that_leave_nothing_to_train_are_told_before_the_search():
    with pytest.raises(UserError) as raised:
        checked({"macs": "1K"}, dense={"values": [16, 8]})
    assert str(raised.value) == (
        "search.limits: all 2 points that were tried are beyond them; the least of these networks"
        " has 798 parameters and 159,600 MACs"
    )


def test_limits_that_leave_something_are_no_error():
    checked({"parameters": "1K"}, dense={"values": [8, 300]})
    checked(None, dense={"values": [8]})


def test_an_ablation_of_an_experiment_beyond_the_limits_has_nothing_to_compare_with():
    with pytest.raises(UserError, match="the experiment as it is has 3,426 parameters"):
        checked({"parameters": "1K"}, dense={"values": [8, 16]}, method="ablation")
