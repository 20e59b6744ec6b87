"""What mattered is found where it is known, and not claimed where it is not."""

import numpy as np
import pytest

from inat_ray.page import importance
from inat_ray.page.importance import (
    correlation_interval,
    evidence,
    importances,
    rank_correlation,
    telling_trials,
    varied_columns,
)


@pytest.fixture
def points():
    rng = np.random.default_rng(3)
    return [
        {
            "lr": float(10 ** rng.uniform(-4, -1)),
            "act": str(rng.choice(["relu", "mish", "gelu"])),
            "noise": float(rng.random()),
            "same": [32, 64],
        }
        for _ in range(60)
    ]


def test_what_the_score_depends_on_stands_first_and_the_rest_near_zero(points):
    scores = [np.log10(point["lr"]) + (point["act"] == "mish") for point in points]
    found = importances(points, scores)
    assert [importance.name for importance in found.parameters] == ["lr", "act", "noise"]
    assert found.parameters[0].mean > 3 * abs(found.parameters[2].mean)
    assert abs(found.parameters[2].mean) < 0.1
    assert found.explained > 0.5


def test_scores_that_depend_on_nothing_are_not_explained(points):
    scores = np.random.default_rng(1).random(60).tolist()
    assert importances(points, scores).explained < 0.2


def test_seeds_of_one_configuration_do_not_give_each_other_away():
    """Scores are noise of the configuration; its other seeds are no trials that nobody saw."""
    rng = np.random.default_rng(2)
    noise = rng.random(20).repeat(3)
    trials = [{"lr": float(i)} for i in rng.permutation(20).repeat(3)]
    assert importances(trials, noise.tolist()).explained < 0.2


@pytest.fixture
def few_samples(monkeypatch):
    """Enough where numbers are compared that must be equal."""
    monkeypatch.setattr(importance, "BOOTSTRAPS", 5)


@pytest.mark.usefixtures("few_samples")
def test_a_scale_makes_no_difference(points):
    scores = [np.log10(point["lr"]) for point in points]
    logarithms = [point | {"lr": np.log10(point["lr"])} for point in points]
    assert importances(points, scores) == importances(logarithms, scores)


@pytest.mark.usefixtures("few_samples")
def test_the_same_trials_give_the_same_importances(points):
    scores = [point["noise"] for point in points]
    assert importances(points, scores) == importances(points, scores)


def test_a_condition_that_is_not_met_is_a_value_of_its_own():
    points = [{"kind": "a", "depth": i % 3} if i % 2 else {"kind": "b"} for i in range(12)]
    columns = varied_columns(points)
    assert set(columns) == {"kind", "depth"}
    assert set(columns["depth"][::2]) == {-1.0}
    assert set(columns["depth"][1::2]) == {0.0, 1.0, 2.0}


@pytest.mark.parametrize("few", [0, 1, 9])
def test_few_trials_have_no_importances(points, few):
    assert importances(points[:few], [p["lr"] for p in points[:few]]) is None


def test_trials_that_do_not_differ_have_no_importances(points):
    assert importances(points, [0.5] * 60) is None
    assert importances([{"lr": 0.1}] * 12, list(range(12))) is None


def test_a_rank_correlation_is_that_of_the_order_alone(points):
    scores = [point["lr"] ** 3 for point in points]
    assert rank_correlation(points, scores, name="lr") == (pytest.approx(1.0), 60)
    assert rank_correlation(points, [-s for s in scores], name="lr")[0] == pytest.approx(-1.0)
    assert rank_correlation(points, scores, name="act") is None
    assert rank_correlation(points, scores, name="absent") is None


def test_ranks_of_equals_are_shared():
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5.
    points = [{"x": x} for x in (1, 2, 2, 3)]
    correlation, trials = rank_correlation(points, [1, 2, 3, 4], name="x")
    assert correlation == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    assert trials == 4


def test_the_interval_of_a_correlation_narrows_with_the_trials():
    low, high = correlation_interval(0.5, 28)
    # arctanh(0.5) = 0.5493; half width 1.96 * 1.03 / 5 = 0.40376.
    assert (low, high) == (
        pytest.approx(np.tanh(0.14554), abs=1e-4),
        pytest.approx(np.tanh(0.95307), abs=1e-4),
    )
    assert correlation_interval(0.5, 9) is None
    assert correlation_interval(1.0, 50) is None


def test_a_correlation_of_many_trials_is_clearer_than_a_stronger_one_of_few():
    assert evidence(0.4, 100) > evidence(-0.6, 11) > evidence(0.1, 100) > 0 == evidence(0.9, 3)


def test_as_many_trials_are_wanted_as_tell_the_clearest_correlation_from_chance(points):
    noise = np.random.default_rng(2).random(60)
    weak = [np.log10(p["lr"]) * 0.1 + n for p, n in zip(points, noise, strict=True)]
    assert telling_trials(points, weak) >= telling_trials(points, [p["lr"] for p in points]) == 90
