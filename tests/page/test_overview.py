"""The first page of the report: what came out, and how it was made."""

import pytest

from inat_ray.config.experiment import Experiment
from inat_ray.log.history import History
from inat_ray.log.records import EpochEnded, LookAtTest, PointBeyond, StopAsked, TrialKnown
from inat_ray.page.overview import lead_text, setting_section, summary_section
from inat_ray.page.reported_run import ReportedRun
from inat_ray.run.folder import RunFolder
from tests.made_up_sweep import renamed


@pytest.fixture
def run(sweep, history_of, tmp_path) -> ReportedRun:
    look = LookAtTest(model="m", accuracy=0.875, loss=0.4, images=80, predictions="log/p.parquet")
    return ReportedRun(RunFolder(tmp_path), history_of([*sweep, look]))


def test_the_figures_that_are_read_first_are_the_logs(run):
    body = summary_section(run).body
    for text in ("90.0 %", "87.5 %", ">6<", ">8<"):  # best, test, trials, epochs
        assert text in body


def test_the_best_trials_score_stands_beside_that_of_new_seeds(run, sweep):
    for seed, accuracy in ((7, 0.5), (8, 0.7)):
        for record in renamed(sweep[1:6], f"again_{seed}", purpose="confirm", seed=seed):
            is_epoch = isinstance(record, EpochEnded)
            update = {"val_accuracy": accuracy} if is_epoch else {}
            run.history.add(record.model_copy(update=update))
    body = summary_section(run).body
    assert "Confirmed, 2 new seeds" in body
    assert "60.0 ± 14.1 %" in body


def test_what_is_missing_is_said_at_the_top(run):
    run.missing.append("There is no <model>.")
    assert "There is no &lt;model&gt;." in summary_section(run).body


def test_the_setting_tells_method_metric_and_epochs(run):
    body = setting_section(run).body
    for text in (
        "random search",
        "val_accuracy, to maximize",
        "8 epochs of 24 planned",
        "6 of 8 trials",
    ):
        assert text in body


def test_what_a_person_changed_is_told_with_its_time(run):
    assert "Changed since it began" not in setting_section(run).body
    run.history.add(StopAsked(trial_id="trial_0005", epochs=2))
    body = setting_section(run).body
    assert "Changed since it began" in body
    assert "after 6 trials: trial_0005 ends after epoch 2" in body


def test_the_limits_are_told_and_how_many_points_were_beyond(run):
    limits = {"parameters": "10M", "macs": "500M"}
    run.experiment = Experiment.model_validate({"search": {"limits": limits}})
    run.folder.experiment.write_text("")
    run.history.add(PointBeyond(parameters={}, model_parameters=1, macs=1))
    body = setting_section(run).body
    assert "10 M parameters, 500 M macs" in body
    assert "1 point beyond the limits, not trained" in body


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
    assert "0:00" in summary_section(run).body
    setting_section(run)
