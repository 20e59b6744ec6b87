"""Axes, importance and slices of what a search varied."""

from dataclasses import replace

import numpy as np
import pytest

from inat_ray.config.experiment import Experiment
from inat_ray.page.parameters import (
    NOT_SET,
    Scored,
    parameters_section,
    scored_trials,
)


def scored(points, scores, *, logarithmic=()) -> Scored:
    names = dict.fromkeys(name for point in points for name in point)
    return Scored(
        names={name: name for name in names},
        points=points,
        scores=scores,
        trial_ids=[f"trial_{i:04d}" for i in range(len(points))],
        logarithmic=frozenset(logarithmic),
        metric="val_accuracy",
        best=points[int(np.argmax(scores))],
    )


@pytest.fixture(scope="module")
def made_up() -> Scored:
    rng = np.random.default_rng(0)
    points = [
        {"lr": float(10 ** rng.uniform(-4, -2)), "filters": [32, 64] if i % 2 else "auto"}
        | ({"depth": int(i % 3)} if i % 2 else {})
        for i in range(30)
    ]
    return scored(points, [np.log10(p["lr"]) / 10 + 0.9 for p in points], logarithmic=["lr"])


@pytest.fixture(scope="module")
def section(made_up):
    return parameters_section(made_up)


def test_every_parameter_and_the_metric_has_an_axis_with_a_scale_of_its_own(section, plots_of):
    (trace,) = plots_of(section)[0]["data"]
    axes = {axis["label"]: axis for axis in trace["dimensions"]}
    assert list(axes) == ["lr", "filters", "depth", "val acc"]
    assert all(len(axis["values"]) == 30 for axis in axes.values())
    assert axes["filters"]["ticktext"] == ["auto", "32-64"]
    assert -4 <= min(axes["lr"]["values"]) < max(axes["lr"]["values"]) <= -2


def test_trials_without_a_parameter_stand_at_a_place_that_says_so(section, plots_of, made_up):
    (trace,) = plots_of(section)[0]["data"]
    axis = next(axis for axis in trace["dimensions"] if axis["label"] == "depth")
    place = axis["tickvals"][axis["ticktext"].index(NOT_SET)]
    without = [i for i, point in enumerate(made_up.points) if "depth" not in point]
    assert [i for i, value in enumerate(axis["values"]) if value == place] == without
    assert axis["range"][0] < place


def test_each_trial_of_a_slice_stands_at_its_own_values(section, plots_of, made_up):
    lr, filters, depth = plots_of(section)[2:]
    assert lr["data"][0]["x"] == [point["lr"] for point in made_up.points]
    assert lr["data"][0]["y"] == made_up.scores
    assert lr["layout"]["xaxis"]["type"] == "log"
    assert filters["layout"]["xaxis"]["type"] == "category"
    assert len(depth["data"][0]["x"]) == 15


def test_the_table_holds_importance_correlation_and_the_best_trials_value(
    section, rows_of, made_up
):
    rows = {row[0]: row for row in rows_of(section)}
    assert next(iter(rows)) == "lr"
    assert rows["lr"][2] == "1.00"
    assert rows["filters"][2] == "-"
    best = made_up.points[int(np.argmax(made_up.scores))]
    assert rows["lr"][4] == f"{best['lr']:.3g}"


def test_a_metric_that_is_minimized_is_turned_for_correlation(made_up, rows_of):
    section = parameters_section(replace(made_up, metric="val_loss"))
    assert {row[0]: row for row in rows_of(section)}["lr"][2] == "-1.00"


def test_few_trials_are_drawn_and_nothing_is_claimed_of_importance(plots_of):
    few = scored([{"lr": 0.1}, {"lr": 0.2}], [0.5, 0.6])
    section = parameters_section(few)
    assert "2 trials with a result are too few" in section.body
    assert len(plots_of(section)) == 2


def test_one_trial_is_drawn(plots_of):
    section = parameters_section(scored([{"lr": 0.1}], [0.5]))
    assert len(plots_of(section)) == 2


def test_the_seed_is_no_hyperparameter_and_trials_without_result_are_left_out(
    history_of, study, sweep
):
    found = scored_trials(history_of(study({"a": [0.5], "b": [0.6]})), None)
    assert list(found.names) == ["model.freeze", "recipe.lr"]
    assert len(scored_trials(history_of(sweep), None).points) == 5


def test_the_scale_is_that_of_the_experiment(history_of, sweep):
    experiment = Experiment.model_validate(
        {
            "search": {
                "parameters": {
                    "recipe.lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1},
                    "model.dropout": {"min": 0.0, "max": 0.5},
                }
            }
        }
    )
    assert scored_trials(history_of(sweep), experiment).logarithmic == {"recipe.lr"}
