"""How the report says that a run was made."""

import pytest

from inat_ray.config.experiment import Experiment
from inat_ray.log.history import History
from inat_ray.log.records import LookAtTest, StopAsked, TrialKnown
from inat_ray.page.overview import lead_text, setting_section
from inat_ray.page.reported_run import ReportedRun
from inat_ray.run.folder import RunFolder


@pytest.fixture
def run(sweep, history_of, tmp_path) -> ReportedRun:
    look = LookAtTest(model="m", accuracy=0.875, loss=0.4, images=80, predictions="log/p.parquet")
    return ReportedRun(RunFolder(tmp_path), history_of([*sweep, look]))


def test_the_setting_tells_method_metric_and_end(run):
    body = setting_section(run).body
    for text in ("random search", "val_accuracy, to maximize", "not yet: it was cut off"):
        assert text in body


def test_what_a_person_changed_is_told_with_its_time(run):
    assert "Changed since it began" not in setting_section(run).body
    run.history.add(StopAsked(trial_id="trial_0005", epochs=2))
    body = setting_section(run).body
    assert "Changed since it began" in body
    assert "after 6 trials: trial_0005 ends after epoch 2" in body


def test_the_limits_are_told(run):
    limits = {"parameters": "10M", "macs": "500M"}
    run.experiment = Experiment.model_validate({"search": {"limits": limits}})
    run.folder.experiment.write_text("")
    body = setting_section(run).body
    assert "10 M parameters, 500 M macs" in body


def test_what_other_runs_knew_is_told_with_how_it_agrees(run):
    run.experiment = Experiment.model_validate({})
    run.folder.experiment.write_text("")
    known = TrialKnown(source="runs/a trial_0000", parameters={}, values=[0.5], state="finished")
    run.history.add(known)
    assert "1 trial of runs/a" in setting_section(run).body


def test_data_and_versions_are_those_of_the_result(run):
    run.result = {
        "data": {
            "classes": ["ash", "beech"],
            "images": {"train": 1600, "test": 500},
            "quarantined": {"a.jpg": "truncated"},
            "duplicates": [],
        },
        "versions": {"torch": "2.15.0"},
    }
    body = setting_section(run).body
    for text in ("1,600 train, 500 test", "ash, beech", "1 that cannot be read", "torch 2.15.0"):
        assert text in body


def test_the_machine_is_named_with_its_cluster_where_there_was_one(run):
    node = {"count": 1, "cpus": 4.0, "gpus": 0, "accelerators": []}
    here = {"processor": "Acme One", "cores": 2, "system": "Linux", "nodes": [node]}
    run.result = {"versions": {}, "machine": here}
    body = setting_section(run).body
    assert "Acme One, 2 cores, Linux" in body
    assert "cluster" not in body
    here["nodes"].append({"count": 2, "cpus": 8, "gpus": 1.0, "accelerators": ["A100"]})
    expected = "a cluster of 1 node of 4 CPUs, 0 GPUs and 2 nodes of 8 CPUs, 1 GPUs (A100)"
    assert expected in setting_section(run).body


def test_the_lead_says_what_kind_of_run_it_was(run):
    assert lead_text(run).startswith("Random search for made_up, started ")


def test_a_run_without_records_has_an_overview_too(tmp_path):
    run = ReportedRun(RunFolder(tmp_path), History())
    assert lead_text(run) == "A run that recorded nothing."
    setting_section(run)
