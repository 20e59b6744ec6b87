"""A smooth explains what depends on its places, and not noise."""

import numpy as np
import pytest

from inat_ray.page.axes import categories, linear
from inat_ray.page.smooth import WIDTHS, best_smooth, stretch, weights_at


def test_a_curve_is_explained_that_goes_up_and_down_and_noise_is_not():
    rng = np.random.default_rng(0)
    places = rng.random((80, 1))
    hill = -((places[:, 0] - 0.5) ** 2)
    explained, width = best_smooth(places, hill)
    assert explained > 0.9
    assert width == min(WIDTHS)
    assert best_smooth(places, rng.random(80))[0] < 0.1


def test_a_trial_tells_most_where_it_stands_and_nothing_of_another_category():
    kinds = categories("kind", ["a", "b"])
    places = np.array([[kinds.at(k) * stretch(kinds)] for k in (0, 1)])
    assert weights_at(places, places, 0.27) == pytest.approx(np.eye(2))
    assert stretch(linear("lr", [0, 1])) == 1
