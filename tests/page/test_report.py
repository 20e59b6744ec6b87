"""The report of runs that went well, and of runs that did not."""

import io
import json
import re

import pytest
from rich.console import Console

from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import open_dataset
from inat_ray.log.records import LookAtTest
from inat_ray.log.run_log import EVENTS
from inat_ray.page.report import report_at_end, write_comparison, write_report
from inat_ray.page.reported_run import open_run
from inat_ray.run.folder import RunFolder
from inat_ray.training.checkpoint import model_writer
from inat_ray.training.fit import Fit
from tests.run.made_up_runs import create_run


@pytest.fixture(scope="module")
def experiment(data_folder, small_settings):
    search = "search.parameters={recipe.lr: {min: 0.001, max: 0.1}}"
    return load_experiment(None, settings=[*small_settings, f"data.source={data_folder}", search])


@pytest.fixture
def run(tmp_path, experiment, sweep) -> RunFolder:
    """A search whose log is the made-up one, with a real model and a real look at the test set."""
    run = create_run(tmp_path / "run", experiment, overwrite=False)
    write_log(run, sweep)
    return run


def write_log(run: RunFolder, records) -> None:
    run.log.mkdir(exist_ok=True)
    (run.log / EVENTS).write_text("".join(f"{r.model_dump_json()}\n" for r in records))


def finish(run: RunFolder, experiment, records) -> None:
    """Leaves what the end of a run leaves: a model, predictions, result.json."""
    from inat_ray.training.checkpoint import load_model
    from inat_ray.training.predictions import predictions_of, write_predictions

    data = open_dataset(experiment.data)
    model_writer(Fit(experiment, data))(run.shared_model)
    evaluation = load_model(run.model).evaluate(data, "test", device=Fit(experiment, data).device)
    predictions = predictions_of(evaluation, data=data, subset="test")
    write_predictions(predictions, run.log / "test_predictions_1.parquet")
    look = LookAtTest(
        model="best.safetensors",
        accuracy=evaluation.tally.accuracy,
        loss=evaluation.tally.loss,
        images=15,
        predictions="log/test_predictions_1.parquet",
    )
    write_log(run, [*records, look])
    run.result.write_text(json.dumps({"parameters": 1234}))


def headings(run: RunFolder) -> list[str]:
    found = open_run(run.path)
    write_report(found, run.report)
    return re.findall(r"<h2[^>]*>(.*?)</h2>", run.report.read_text())


SEARCH = ["Summary", "Leaderboard", "Results over time", "Learning curves"]
SETTING = "What was done"
MODEL = [
    "The model on the test images",
    "Class by class",
    "Confusion matrix",
    "Calibration",
    "The most confident mistakes",
    "What it looks at",
]


def test_a_finished_search_has_it_all(run, experiment, sweep):
    finish(run, experiment, sweep)
    assert headings(run) == [*SEARCH, "Hyperparameters", "Early stopping", *MODEL, SETTING]


def test_a_search_that_was_killed_says_what_is_missing(run):
    assert headings(run) == [*SEARCH, "Hyperparameters", "Early stopping", SETTING]
    text = run.report.read_text()
    assert "the run has not finished" in text
    assert "not looked at" in text


def test_a_search_without_a_result_has_a_report_with_the_errors(run, sweep):
    failed = [r for r in sweep if getattr(r, "trial_id", "trial_0003") == "trial_0003"]
    write_log(run, failed)
    assert headings(run) == ["Summary", "Results", "Leaderboard", SETTING]
    assert "out of memory [GPU 0]" in run.report.read_text()


def test_a_single_trial_has_a_report(run, sweep):
    write_log(run, sweep[:3])
    assert "Hyperparameters" in headings(run)
    assert "1 configuration with a result, and 10 are needed" in run.report.read_text()


@pytest.mark.parametrize("records", [0, 1])
def test_a_run_that_ended_before_its_first_trial_has_a_report(run, sweep, records):
    write_log(run, sweep[:records])
    assert headings(run)[0] == "Summary"


def test_a_training_without_a_search_has_its_curve_and_its_model(run, experiment, sweep):
    start = sweep[0].model_copy(update={"method": "train", "parameters": {}, "trials": 1})
    finish(run, experiment, [start, *sweep[1:6]])
    assert headings(run) == ["Summary", "Learning curves", *MODEL, SETTING]


def make_it_a_resnet(run) -> None:
    run.experiment.write_text(
        run.experiment.read_text().partition("model:")[0]
        + "model: {kind: resnet, backbone: resnet18, weights: none}\n"
    )


def test_a_study_of_freezing_has_its_results_once_and_without_its_costs_says_why(run, study):
    write_log(run, study({"none": [0.8, 0.9], "head_only": [0.5, 0.6]}))
    make_it_a_resnet(run)
    found = headings(run)
    assert "What to freeze" in found
    assert "Over seeds" not in found  # the same results are in it
    run.experiment.unlink()
    assert {"What to freeze", "Over seeds"} <= {*headings(run)}


def test_an_ablation_without_seeds_has_its_differences_on_the_page(run, study):
    records = study({"none": [0.8], "head_only": [0.5]}, method="ablation")
    records[0].parameters.pop("seed")
    write_log(run, records)
    make_it_a_resnet(run)
    assert "One change at a time" in headings(run)
    assert "<td>-30.0</td>" in run.report.read_text()


def test_predictions_that_are_gone_are_said_to_be(run, experiment, sweep):
    finish(run, experiment, sweep)
    (run.log / "test_predictions_1.parquet").unlink()
    assert "Class by class" not in headings(run)
    assert "predictions could not be read" in run.report.read_text()


def test_several_runs_are_compared(run, experiment, sweep, tmp_path):
    finish(run, experiment, sweep)
    other = create_run(
        tmp_path / "other",
        experiment.model_copy(update={"seed": 7}),
        overwrite=False,
    )
    path = tmp_path / "comparison.html"
    write_comparison([open_run(run.path), open_run(other.path)], path)
    text = path.read_text()
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", text) == ["Results", "Progress", "Where they differ"]
    for words in ("90.0 %", "best val acc so far", "<td>seed</td>", "other: The run has no log"):
        assert words in text


def test_a_report_that_cannot_be_written_is_a_note_and_no_failure_of_the_run(tmp_path, experiment):
    run = create_run(tmp_path / "run", experiment, overwrite=False)
    run.report.mkdir()
    console = Console(file=io.StringIO(), width=300)
    report_at_end(console, run=run)
    said = console.file.getvalue()
    assert "there is no report (IsADirectoryError" in said
    assert "inat-ray report" in said
