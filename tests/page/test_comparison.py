"""Several runs on one page."""

import pytest

from inat_ray.config.experiment import Experiment
from inat_ray.log.history import History
from inat_ray.log.records import LookAtTest
from inat_ray.page.comparison import comparison_sections
from inat_ray.page.reported_run import ReportedRun
from inat_ray.run.folder import RunFolder


@pytest.fixture
def runs(sweep, history_of, tmp_path) -> list[ReportedRun]:
    """The same sweep twice; the second was tested, and had another learning rate."""
    look = LookAtTest(model="m", accuracy=0.5, loss=1.0, images=100, predictions="log/p.parquet")
    other = Experiment.model_validate({"recipe": {"lr": 0.5}})
    return [
        ReportedRun(RunFolder(tmp_path / "one"), history_of(sweep), experiment=Experiment()),
        ReportedRun(RunFolder(tmp_path / "two"), history_of([*sweep, look]), experiment=other),
    ]


def test_a_run_is_a_row_with_what_it_found_and_what_that_cost(runs, rows_of):
    results, _, _ = comparison_sections(runs)
    one, two = rows_of(results)
    assert one[:5] == ["one", "6", "8", "0:19", "val acc 90.0 %"]
    assert one[5:7] == ["-", "-"]
    assert two[5:7] == ["50.0 %", "40.4 to 59.6 %"]


def test_a_run_that_never_began_has_a_row_and_no_line(runs, rows_of, plots_of, tmp_path):
    never = ReportedRun(RunFolder(tmp_path / "never"), History())
    results, progress, _ = comparison_sections([*runs, never])
    assert rows_of(results)[2] == ["never", *["-"] * 7]
    assert len(plots_of(progress)[0]["data"][2]["x"]) == 0


def test_runs_with_different_metrics_are_not_drawn_together(runs, plots_of):
    history = runs[1].history
    history.started = history.run.model_copy(update={"metric": "val_loss", "goal": "minimize"})
    _, progress, _ = comparison_sections(runs)
    assert plots_of(progress) == []
    assert "different metrics" in progress.body


def test_settings_that_differ_are_named_with_both_values(runs, rows_of):
    *_, differences = comparison_sections(runs)
    assert rows_of(differences) == [["recipe.lr", repr(Experiment().recipe.lr), "0.5"]]


def test_runs_of_one_experiment_are_said_to_have_the_same_settings(runs):
    runs[1].experiment = runs[0].experiment
    *_, differences = comparison_sections(runs)
    assert "two has the same settings as one" in differences.body
