"""A map is drawn where two hyperparameters tell the result, and nowhere else."""

import numpy as np
import pytest

from inat_ray.page import importance
from inat_ray.page.maps import maps_figure
from inat_ray.page.marks import Cells
from tests.page.made_scored import scored


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    """The order of the hyperparameters needs no exact importances."""
    monkeypatch.setattr(importance, "BOOTSTRAPS", 3)


def trials(count: int, result) -> object:
    rng = np.random.default_rng(0)
    points = [{"a": float(x), "b": float(y), "c": float(z)} for x, y, z in rng.random((count, 3))]
    return scored(points, [float(result(point, rng)) for point in points])


def test_a_pair_that_tells_the_result_is_drawn_first_with_what_it_explains():
    figure = maps_figure(trials(80, lambda p, _: -((p["a"] - 0.3) ** 2) - (p["b"] - 0.7) ** 2))
    first = figure.views[""][0]
    assert {first.x.title, first.y.title} == {"a", "b"}
    assert int(first.title.split()[0]) > 60
    assert any(isinstance(mark, Cells) for mark in first.marks)


def test_seeds_of_few_configurations_have_no_map():
    rng = np.random.default_rng(0)
    points = [{"a": float(x), "b": float(y)} for x, y in rng.random((20, 2)) for _ in range(3)]
    assert maps_figure(scored(points, [p["a"] + p["b"] for p in points])) is None


@pytest.mark.parametrize(
    ("count", "result"),
    [(80, lambda p, rng: rng.random()), (20, lambda p, _: p["a"]), (40, lambda p, _: 1.0)],
)
def test_noise_few_trials_and_equal_results_have_no_map(count, result):
    assert maps_figure(trials(count, result)) is None


def test_a_map_is_empty_where_no_trial_is():
    rng = np.random.default_rng(0)
    points = [{"a": float(x), "b": float(y)} for x, y in rng.random((60, 2)) * 0.3]
    points.append({"a": 1.0, "b": 1.0})
    figure = maps_figure(scored(points, [p["a"] + p["b"] for p in points]))
    (plot,) = figure.views[""]
    boxes = [box for mark in plot.marks if isinstance(mark, Cells) for box in mark.boxes]
    assert not any(
        box.low[0] < 0.7 < box.high[0] and box.low[1] < 0.2 < box.high[1] for box in boxes
    )
