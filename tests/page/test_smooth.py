"""A smooth explains what depends on its places, and not noise."""

import numpy as np
import pytest

from inat_ray.page.axes import categories, linear
from inat_ray.page.smooth import WIDTHS, best_smooth, stretch, weights_at


def test_a_curve_is_explained_that_goes_up_and_down_and_noise_is_not():
    rng = np.random.default_rng(0)
    places = rng.random((80, 1))
    hill, each = -((places[:, 0] - 0.5) ** 2), np.arange(80)
    explained, width = best_smooth(places, hill, each)
    assert explained > 0.9
    assert width == min(WIDTHS)
    assert best_smooth(places, rng.random(80), each)[0] < 0.1


def test_seeds_of_one_configuration_do_not_explain_each_other():
    """Four seeds each of 20 configurations, whose results depend on nothing but chance."""
    rng = np.random.default_rng(0)
    places = np.repeat(rng.random((20, 2)), 4, axis=0)
    scores = np.repeat(rng.random(20), 4) + 0.01 * rng.random(80)
    assert best_smooth(places, scores, np.arange(80))[0] > 0.5
    assert best_smooth(places, scores, np.repeat(np.arange(20), 4))[0] < 0.05


def test_a_trial_tells_most_where_it_stands_and_nothing_of_another_category():
    kinds = categories("kind", ["a", "b"])
    places = np.array([[kinds.at(k) * stretch(kinds)] for k in (0, 1)])
    assert weights_at(places, places, 0.27) == pytest.approx(np.eye(2))
    assert stretch(linear("lr", [0, 1])) == 1
