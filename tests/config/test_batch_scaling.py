import math

import pytest

from inat_ray.config.batch_scaling import scaled_batch
from inat_ray.config.load import load_experiment


@pytest.mark.parametrize(("rule", "factor"), [("linear", 4.0), ("sqrt", math.sqrt(4))])
def test_the_batch_grows_with_the_workers_and_the_rate_by_the_rule(rule, factor):
    settings = ["resources.workers_per_trial=4", "recipe.batch_size=32", "recipe.lr=0.001"]
    scaled = scaled_batch(load_experiment(None, settings=settings), rule)
    assert scaled.recipe.batch_size == 128
    assert scaled.recipe.lr == pytest.approx(0.001 * factor)


def test_one_worker_changes_nothing():
    experiment = load_experiment(None)
    assert scaled_batch(experiment, "linear") == experiment
