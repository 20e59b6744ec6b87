import json

import numpy as np
import pytest

from inat_ray.config.distributions import Categorical, Numeric
from inat_ray.config.parameter_spec import parse_parameter


def draws(spec: dict, count: int = 2000) -> list:
    parameter = parse_parameter(spec)
    return [parameter.from_unit(u) for u in np.random.default_rng(0).random(count)]


def test_a_value_alone_is_a_constant():
    assert set(draws({"value": 3})) == {3}


def test_values_are_drawn_equally_often_unless_weighed():
    assert draws({"values": ["a", "b"]}).count("a") == pytest.approx(1000, abs=100)
    weighed = draws({"values": ["a", "b"], "probabilities": [0.9, 0.1]})
    assert weighed.count("a") == pytest.approx(1800, abs=80)


def test_a_list_is_a_category_and_stays_a_list():
    assert [1, 2] in draws({"values": [[1, 2], {"k": None}]})


def test_categories_that_differ_only_in_type_are_kept_apart():
    categories = parse_parameter({"values": [1, 1.0, True]})
    assert isinstance(categories, Categorical)
    assert [categories.code(value) for value in (1, 1.0, True)] == [0, 1, 2]


def test_two_whole_bounds_mean_whole_numbers_with_both_ends_as_likely_as_the_rest():
    values = draws({"min": 1, "max": 3})
    assert all(isinstance(value, int) for value in values)
    assert [values.count(n) for n in (1, 2, 3)] == pytest.approx([667] * 3, abs=80)


def test_a_bound_with_a_point_means_a_continuous_range():
    values = draws({"min": 0.0, "max": 2})
    assert min(values) < 0.1
    assert max(values) > 1.9
    assert len(set(values)) == len(values)


def test_a_log_range_gives_every_decade_its_share():
    values = draws({"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1})
    assert sum(value < 1e-3 for value in values) == pytest.approx(667, abs=80)
    assert 1e-4 <= min(values) <= max(values) <= 1e-1


def test_a_step_gives_multiples_within_the_bounds_without_rounding_dust():
    values = set(draws({"distribution": "q_uniform", "min": 0.1, "max": 0.55, "q": 0.1}))
    assert values == {0.1, 0.2, 0.3, 0.4, 0.5}


def test_a_bound_that_is_a_multiple_but_for_rounding_is_a_value():
    spec = {"distribution": "q_uniform", "min": 0.3, "max": 0.7, "q": 0.1}
    assert set(draws(spec)) == {0.3, 0.4, 0.5, 0.6, 0.7}


def test_a_whole_step_gives_whole_numbers():
    spec = {"distribution": "q_log_uniform_values", "min": 8, "max": 64, "q": 8}
    assert set(draws(spec)) == {8, 16, 24, 32, 40, 48, 56, 64}
    assert all(isinstance(value, int) for value in draws(spec))


def test_a_normal_has_its_mean_and_deviation_and_keeps_to_its_bounds():
    values = np.array(draws({"distribution": "normal", "mu": 2.0, "sigma": 0.5}))
    assert values.mean() == pytest.approx(2.0, abs=0.05)
    assert values.std() == pytest.approx(0.5, abs=0.05)
    spec = {"distribution": "normal", "mu": 2.0, "sigma": 0.5, "min": 1.9, "max": 2.1}
    assert 1.9 <= min(draws(spec)) <= max(draws(spec)) <= 2.1


def test_the_logarithm_of_a_log_normal_has_its_mean_and_deviation():
    logs = np.log(draws({"distribution": "log_normal", "mu": -6.0, "sigma": 1.5}))
    assert logs.mean() == pytest.approx(-6.0, abs=0.15)
    assert logs.std() == pytest.approx(1.5, abs=0.15)


def test_a_stepped_normal_gives_multiples_around_its_mean():
    values = draws({"distribution": "q_normal", "mu": 64, "sigma": 16, "q": 8, "min": 32})
    assert all(isinstance(value, int) and value % 8 == 0 for value in values)
    assert (min(values), np.mean(values)) == (32, pytest.approx(64, abs=1))
    assert set(draws({"distribution": "q_log_normal", "mu": 0, "sigma": 0.02, "q": 0.5})) == {1.0}


@pytest.mark.parametrize(
    "spec",
    [
        {"min": 1, "max": 9},
        {"min": 0.0, "max": 2.0},
        {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0},
        {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25},
        {"distribution": "normal", "mu": 0.0, "sigma": 2.0},
        {"distribution": "log_normal", "mu": -5.0, "sigma": 2.0},
        {"distribution": "q_normal", "mu": 1, "sigma": 0.3, "q": 0.1},
        {"min": 3, "max": 3},
    ],
)
def test_a_value_goes_back_to_a_quantile_that_gives_it_again(spec):
    parameter = parse_parameter(spec)
    assert isinstance(parameter, Numeric)
    for u in (0.0, 0.1, 0.37, 0.5, 0.99):
        value = parameter.from_unit(u)
        assert parameter.from_unit(parameter.code(value)) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        ({"value": 3}, [3]),
        ({"values": ["b", [1, 2], "a"]}, ["b", [1, 2], "a"]),
        ({"min": 2, "max": 5}, [2, 3, 4, 5]),
        ({"distribution": "q_uniform", "min": 0.1, "max": 0.3, "q": 0.1}, [0.1, 0.2, 0.3]),
        ({"distribution": "q_uniform", "min": -0.6, "max": 0.4, "q": 0.5}, [-0.5, 0.0]),
        ({"distribution": "q_log_uniform_values", "min": 10, "max": 32, "q": 8}, [16, 24, 32]),
    ],
)
def test_a_finite_parameter_lists_every_value_that_it_can_give(spec, values):
    parameter = parse_parameter(spec)
    assert [parameter.at(place) for place in range(parameter.size)] == values
    assert {json.dumps(value) for value in draws(spec)} == {json.dumps(value) for value in values}
