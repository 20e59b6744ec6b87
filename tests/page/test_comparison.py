"""Several runs on one page."""

import json

import pytest

from inat_ray.config.experiment import Experiment
from inat_ray.log.history import History
from inat_ray.log.records import LookAtTest
from inat_ray.page.comparison import comparison_sections
from inat_ray.page.reported_run import ReportedRun
from inat_ray.run.folder import RunFolder
from inat_ray.terminal.words import value_text
from inat_ray.training.scores import wilson_interval
from tests.made_up_sweep import renamed


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
    assert one[:5] == ["one", "val acc 90.0 %", "6", "8", "0:19"]
    assert one[5] == two[5] == "lr=0.003 batch_norm=true filters=32-64"


def test_the_best_of_a_run_that_was_confirmed_is_its_mean_over_seeds(runs, sweep, rows_of):
    for seed in (7, 8):
        for record in renamed(sweep[1:6], f"again_{seed}", purpose="confirm", seed=seed):
            runs[0].history.add(record)
    one, _ = rows_of(comparison_sections(runs)[0])
    assert one[1] == "90.0 ± 0.0 % over 2 seeds"


def test_test_results_are_drawn_with_their_intervals(runs, data_of):
    results, _, _ = comparison_sections(runs)
    rows = [[name, x] for name, _, x, _ in data_of(results, "tests")[1:]]
    low, high = wilson_interval(0.5, 100)
    assert [name for name, _ in rows] == ["95 % interval", "95 % interval", "test accuracy"]
    assert [float(x) for _, x in rows] == pytest.approx([low, high, 0.5], abs=1e-5)
    assert "1 run without a look at the test set" in results.body
    results, _, _ = comparison_sections(runs[:1])
    assert (results.figures, "No run has looked" in results.body) == ([], True)


def test_a_training_is_not_one_of_the_seeds_of_a_search(runs, training, history_of, data_of):
    runs[1].experiment = runs[0].experiment.model_copy(update={"seed": 7})
    runs[1].history = history_of(training)
    _, progress, _ = comparison_sections(runs)
    assert {row[0] for row in data_of(progress, "best-so-far")[1:]} == {"one", "two"}


def test_a_run_that_never_began_has_a_row_and_no_line(runs, rows_of, data_of, tmp_path):
    never = ReportedRun(RunFolder(tmp_path / "never"), History())
    results, progress, _ = comparison_sections([*runs, never])
    assert rows_of(results)[2] == ["never", *["-"] * 5]
    assert {row[0] for row in data_of(progress, "best-so-far")[1:]} == {"one", "two"}


def test_runs_with_different_metrics_are_not_drawn_together(runs):
    history = runs[1].history
    history.started = history.run.model_copy(update={"metric": "val_loss", "goal": "minimize"})
    _, progress, _ = comparison_sections(runs)
    assert progress.figures == []
    assert "different metrics" in progress.body


def test_the_distribution_of_results_ends_at_all_trials(runs, data_of):
    _, progress, _ = comparison_sections(runs)
    one = [(float(x), float(y)) for name, _, x, y in data_of(progress, "distribution")[1:]
           if name == "one"]  # fmt: skip
    assert one == [(0.1, 0), (0.1, 0.2), (0.25, 0.4), (0.4, 0.6), (0.6, 0.8), (0.9, 1)]


def test_runs_that_differ_in_their_seed_alone_are_one_line_with_their_spread(runs, data_of):
    runs[1].experiment = runs[0].experiment.model_copy(update={"seed": 7})
    _, progress, _ = comparison_sections(runs)
    assert {row[0] for row in data_of(progress, "best-so-far")[1:]} == {"one and 1 more seed"}
    assert "the band reaches from the worst to the best" in progress.body


def test_a_run_of_another_seed_that_has_no_result_yet_is_not_of_the_line(
    runs, sweep, history_of, data_of, tmp_path
):
    other = runs[0].experiment.model_copy(update={"seed": 7})
    begun = ReportedRun(RunFolder(tmp_path / "begun"), history_of(sweep[:2]), experiment=other)
    _, progress, _ = comparison_sections([runs[0], begun])
    assert {row[0] for row in data_of(progress, "best-so-far")[1:]} == {"one"}


def test_settings_that_differ_are_named_as_in_the_terminal(runs, rows_of):
    *_, differences = comparison_sections(runs)
    assert rows_of(differences) == [["recipe.lr", value_text(Experiment().recipe.lr), "0.5"]]


def test_runs_of_one_experiment_are_said_to_have_the_same_settings(runs):
    runs[1].experiment = runs[0].experiment
    results, _, differences = comparison_sections(runs)
    assert "The runs have the same settings" in differences.body
    assert "alarm" not in results.body


def test_runs_on_other_images_are_an_alarm(runs):
    data = runs[0].experiment.data.model_copy(update={"split_seed": 5})
    runs[1].experiment = runs[0].experiment.model_copy(update={"data": data})
    assert "data.split_seed is 42 in one; 5 in two" in comparison_sections(runs)[0].body
    for run, images in zip(runs, (["a.jpg"], ["b.jpg"]), strict=True):
        run.folder.path.mkdir()
        run.folder.split.write_text(json.dumps({"train": images}))
    assert (
        "two was not trained and validated on the same images" in comparison_sections(runs)[0].body
    )
