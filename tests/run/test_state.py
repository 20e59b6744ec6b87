from inat_ray.log.history import History
from inat_ray.log.records import RunResumed
from inat_ray.run.state import state_of
from tests.log.made_up_logs import ended, epoch, started
from tests.run.made_up_runs import run_started, search_records


def test_a_search_is_finished_only_with_its_result():
    history = History.of(search_records())
    assert state_of(history, {}, running=False) == "cut off"
    assert state_of(history, {"search": {}}, running=False) == "finished"
    assert state_of(history, {"search": {}}, running=True) == "running"


def test_an_extended_search_needs_a_result_that_has_its_further_trials():
    further = [started("c"), epoch("c", 1, accuracy=0.6), ended("c")]
    extended = RunResumed(trials=3, extended=True)
    records = search_records()
    history = History.of([*records[:7], extended, *further, *records[7:]])
    assert state_of(history, {"search": {"trials": {"finished": 2}}}, running=False) == "cut off"
    assert state_of(history, {"search": {"trials": {"finished": 3}}}, running=False) == "finished"


def test_without_a_record_the_result_alone_decides():
    assert state_of(History(), {}, running=False) == "cut off"
    assert state_of(History(), {"pack": "p"}, running=False) == "finished"


def test_a_run_whose_trials_all_failed_has_failed():
    end = search_records()[7]
    history = History.of([run_started(), started("a"), ended("a", "failed", "no"), end])
    assert state_of(history, {}, running=False) == "failed"
