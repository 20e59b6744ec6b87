import json

import pytest

from inat_ray.config.distributions import Numeric
from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.config.load import load_experiment, override
from inat_ray.config.resources import Resources
from inat_ray.config.space import SearchSpace, search_space
from inat_ray.data.dataset import open_dataset
from inat_ray.search.limits import Beyond
from inat_ray.tuning.dry_run import (
    dry_run,
    estimated,
    first_suggestions,
    largest_point,
    made_up_curves,
)

FILTERS = "search.parameters.model.filters={values: [[8, 8, 8, 8, 8], [4, 4, 4, 4, 4]]}"
BATCHES = "search.parameters.recipe.batch_size={values: [4, 16, 8]}"
RATES = "search.parameters.recipe.lr={distribution: log_uniform_values, min: 1e-4, max: 1e-2}"


@pytest.fixture
def experiment(data_folder, small_settings):
    settings = [*small_settings, f"data.source={data_folder}", FILTERS, BATCHES, RATES]
    return load_experiment(None, settings=[*settings, "search.trials=12"])


def test_the_largest_point_has_the_most_filters_and_the_largest_batch(experiment):
    largest = largest_point(experiment, search_space(experiment), classes=3)
    assert largest["model.filters"] == [8] * 5
    assert largest["recipe.batch_size"] == 16


def test_no_first_trial_takes_more_than_the_largest_point(experiment):
    """Not even a first point that is never drawn."""
    batches = {"values": [4, 64], "probabilities": [1, 0]}
    parameters = {"recipe.batch_size": batches, "recipe.lr": {"value": 0.01}}
    first = [{"recipe.batch_size": size, "recipe.lr": 0.01} for size in (4, 64)]
    settings = [f"search.parameters={json.dumps(parameters)}", f"search.first={json.dumps(first)}"]
    tried = override(experiment, settings=settings, options={})
    assert largest_point(tried, search_space(tried), classes=3)["recipe.batch_size"] == 64


def test_a_first_trial_that_is_no_experiment_ends_a_dry_run(experiment):
    parameters = {"recipe.batch_size": Numeric("linear", low=2, high=3)}
    space = SearchSpace(parameters)
    data = open_dataset(experiment.data)
    with pytest.raises(UserError, match=r"recipe.batch_size: 2\.\d+: should be a valid integer"):
        dry_run(experiment, space, data=data, resources=CPU, slots=2)


def test_the_first_suggestions_are_those_of_the_search(experiment):
    works = first_suggestions(experiment, search_space(experiment))
    assert [work.trial_id for work in works] == [f"trial_{n:04d}" for n in range(8)]
    assert len({str(work.parameters) for work in works}) == 8


def test_the_time_of_a_search_grows_with_its_trials_and_shrinks_with_its_slots(experiment):
    space = search_space(experiment)
    curve_of = made_up_curves(experiment, classes=3, unit=1e-6)
    trials, alone, beyond = estimated(experiment, space, curve_of, slots=1)
    assert (trials, beyond) == (12, 0)
    assert estimated(experiment, space, curve_of, slots=4).seconds < 0.5 * alone
    search = experiment.search.model_copy(update={"trials": 240})
    more = experiment.model_copy(update={"search": search})
    assert 10 * alone < estimated(more, space, curve_of, slots=1).seconds < 30 * alone
    search = experiment.search.model_copy(update={"time": 0.5 * alone})
    bounded = experiment.model_copy(update={"search": search})
    assert estimated(bounded, space, curve_of, slots=1).seconds < 0.8 * alone


def test_a_search_without_a_number_of_trials_has_as_many_as_its_budget_is_enough_for(experiment):
    space = search_space(experiment)
    curve_of = made_up_curves(experiment, classes=3, unit=1e-6)

    def of(**budget):
        search = experiment.search.model_copy(update={"trials": None, **budget})
        return estimated(experiment.model_copy(update={"search": search}), space, curve_of, slots=1)

    hundred = of(target=0.99)  # when a target is reached cannot be told
    assert hundred.trials == 100
    in_time = of(time=8 * hundred.seconds)
    assert in_time.seconds == pytest.approx(8 * hundred.seconds)
    assert 300 < in_time.trials <= 800
    longer = of(epochs=5000)
    assert 1.5 * hundred.trials < longer.trials < 5000
    assert 3 * hundred.seconds < longer.seconds


def narrow_only(point):
    return None if point["model.filters"] == [4] * 5 else Beyond(point, 1, 1)


def test_the_share_of_points_beyond_the_limits_is_estimated_and_none_is_the_largest(experiment):
    space, curve_of = search_space(experiment), made_up_curves(experiment, classes=3, unit=1e-6)
    wider = override(experiment, settings=["search.trials=50"], options={})
    found = estimated(wider, space, curve_of, slots=1, limit=narrow_only)
    assert found.trials == 50
    assert found.beyond == pytest.approx(0.5, abs=0.15)
    largest = largest_point(experiment, space, classes=3, limit=narrow_only)
    assert (largest["model.filters"], largest["recipe.batch_size"]) == ([4] * 5, 16)
    works = first_suggestions(experiment, space, limit=narrow_only)
    assert [work.parameters["model.filters"] for work in works] == [[4] * 5] * 8


def test_a_finite_space_has_as_many_trials_as_points_within_the_limits(experiment):
    settings = [FILTERS, BATCHES, "search.method=grid", "search.trials=null"]
    grid = override(experiment, settings=settings, options={})
    grid = override(grid, settings=["search.parameters.recipe.lr={value: 0.1}"], options={})
    curve_of = made_up_curves(grid, classes=3, unit=1e-6)
    found = estimated(grid, search_space(grid), curve_of, slots=1, limit=narrow_only)
    assert (found.trials, found.beyond) == (3, 0.5)


CPU = Resources(gpus_per_worker=0)


def test_a_dry_run_trains_the_largest_model_for_a_few_steps(experiment):
    data = open_dataset(experiment.data)
    found = dry_run(experiment, search_space(experiment), data=data, resources=CPU, slots=2)
    assert found.rehearsal.images == 16
    assert found.rehearsal.seconds > 0
    assert found.complexity.parameters > 3 * 8 * 9
    assert found.seconds > 0


def test_a_model_that_does_not_fit_is_found_out_before_hour_three(data_folder, small_settings):
    """Its dense layer alone would take 275 GB."""
    sizes = ["data.image_size=512", "model.filters=[4, 4, 4, 4, 4096]", "model.dense=65536"]
    settings = [*small_settings, *sizes, f"data.source={data_folder}", RATES]
    huge = load_experiment(None, settings=settings)
    with pytest.raises(RunFailedError, match="memory"):
        dry_run(huge, search_space(huge), data=open_dataset(huge.data), resources=CPU, slots=2)
