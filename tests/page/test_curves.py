"""Learning curves are those of the log."""

import json
import re

import pytest

from inat_ray.config.metrics import METRICS
from inat_ray.page.curves import curves_section
from tests.made_up_sweep import renamed


@pytest.fixture
def history(sweep, history_of):
    return history_of(sweep)


def curve(rows, trial):
    return [float(y) for _, name, _, y in rows if name == trial]


def test_a_curve_has_every_epoch_and_its_view_the_number_that_it_names(history, data_of):
    section = curves_section(history)
    rows = data_of(section, "learning-curves", "val acc")
    assert curve(rows, "trial_0000") == [0.5, 0.9, 0.8]
    assert curve(rows, "trial_0003") == []
    with_training = data_of(section, "learning-curves", "with training accuracy")
    assert curve(with_training, "trial_0000") == [0.5, 0.9, 0.8, 0.5, 0.5, 0.5]
    assert curve(data_of(section, "learning-curves", "loss"), "trial_0000") == [1.5] * 3


def test_the_axis_is_that_of_the_data(history):
    (plot,) = curves_section(history).figures[0].views["val acc"]
    assert 0 < plot.y.low < 0.1
    assert 0.9 < plot.y.high < 1


@pytest.mark.parametrize("metric", METRICS)
def test_a_search_by_any_metric_has_views_of_it_of_accuracy_and_of_loss(sweep, history_of, metric):
    run = sweep[0].model_copy(update={"metric": metric})
    figure = curves_section(history_of([run, *sweep[1:]])).figures[0]
    label, others = METRICS[metric].label, ["with training accuracy", "with training loss"]
    losses = [] if metric == "val_loss" else ["loss"]
    assert list(figure.views) == [label, others[0], *losses, others[1]]


def test_a_tip_tells_result_and_parameters(history):
    (text,) = re.findall(r'id="trial-texts">(.*?)</script>', curves_section(history).body)
    assert json.loads(text)["trial_0001"].splitlines() == [
        "val acc 25.0 %, stopped, 1/3 epochs", "lr 0.001", "batch_norm false", "filters 8-8",
    ]  # fmt: skip


def test_the_kept_model_is_told_from_an_earlier_winners(sweep, history_of, data_of):
    first = renamed(sweep[1:5], "winner_0", purpose="final", parameters={"recipe.lr": 7})
    kept = renamed(sweep[1:5], "winner_1", purpose="final")
    rows = data_of(
        curves_section(history_of([*sweep, *first, *kept])), "learning-curves", "val acc"
    )
    assert {series for series, trial, *_ in rows if trial == "winner_0"} == {
        "earlier, val_accuracy"
    }
    assert {series for series, trial, *_ in rows if trial == "winner_1"} == {"winner, val_accuracy"}


def test_the_gap_between_training_and_validation_is_a_figure_of_its_own(history, data_of):
    section = curves_section(history)
    rows = data_of(section, "gap")
    assert [float(y) for series, *_, y in rows[1:7] if series == "training"] == [0.5] * 3
    assert (
        "50.0 % of the training images are classified correctly, 30.0 points less" in section.body
    )
