"""The trials with a result, and the axes on which they stand."""

import pytest

from inat_ray.config.experiment import Experiment
from inat_ray.page.scored import scored_trials
from tests.made_up_sweep import of_now
from tests.page.made_scored import scored


def test_the_seed_is_no_hyperparameter_and_trials_without_result_are_left_out(
    history_of, study, sweep
):
    found = scored_trials(history_of(study({"a": [0.5], "b": [0.6]})), None)
    assert list(found.names) == ["model.freeze", "recipe.lr"]
    assert len(scored_trials(history_of(sweep), None).points) == 5


def test_stopped_trials_rank_below_all_others_and_equals_alike(history_of, sweep):
    found = scored_trials(history_of(of_now(sweep)), None)
    ranks = dict(zip(found.trial_ids, found.ranks, strict=True))
    assert ranks["trial_0000"] == max(ranks.values())  # 70 % over a stretch, after 60 % at once
    alike = scored_trials(
        history_of(
            [
                r.model_copy(update={"val_accuracy": 0.5}) if r.kind == "epoch_ended" else r
                for r in sweep
            ]
        ),
        None,
    )
    assert set(alike.ranks) == {0}


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


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([0.1, 0.2] * 3, ["0.1", "0.2"]),
        ([32, 64, 128, 32, 64, 128], ["32", "64", "128"]),
        ([0.1, 0.2, 0.3, 0.4], ()),
        ([True, False], ["false", "true"]),
        ([[32, 64], "auto"], ["auto", "32-64"]),
    ],
)
def test_two_values_and_a_few_that_come_again_are_categories(values, names):
    axis, _ = scored([{"x": v} for v in values], list(range(len(values)))).axis("x")
    assert list(axis.names) == list(names)


def test_the_most_telling_hyperparameter_is_first_and_a_constant_is_last():
    points = [{"noise": (7 * i) % 10, "same": 1, "lr": i} for i in range(9)]
    assert scored(points, [float(i) for i in range(9)]).telling == ["lr", "noise", "same"]
