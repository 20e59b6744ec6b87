import math

import pytest

from inat_ray.config.errors import UserError, about
from inat_ray.config.parameter_spec import parse_parameter


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"min": "low", "max": 1}, "recipe.lr.min: 'low': should be a finite number"),
        ({"min": True, "max": 1}, "recipe.lr.min: True: should be a finite number"),
        ({"min": 0.1, "max": math.nan}, "recipe.lr.max: nan: should be a finite number"),
        ({"min": 0.1, "max": 10**400}, "should be a finite number"),
        ({"min": None, "max": 1}, "recipe.lr.min: is empty; should be a finite number"),
        ({"values": [0.1], "probabilities": [math.nan]}, "should be a finite number"),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 1e-299}, "steps from 0 to 1"),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}, "lr.q: 0: should be greater"),
    ],
)
def test_a_number_that_is_none_is_told_with_the_key_that_was_written(spec, message):
    with pytest.raises(UserError) as raised, about("recipe.lr"):
        parse_parameter(spec, kind="fractional")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({"distribution": "log_normal", "mu": 0, "sigma": 1, "min": 0}, "above 0 on a log scale"),
        ({"distribution": "log_normal", "mu": 700, "sigma": 1}, "too wide for a logarithm"),
        ({"distribution": "q_normal", "mu": 5, "sigma": 0.1, "q": 9}, "no multiple of 9"),
        ({"distribution": "q_normal", "mu": 5, "sigma": 1, "q": 1e-20}, "steps from"),
    ],
)
def test_a_normal_that_cannot_be_drawn_says_why(spec, fault):
    with pytest.raises(UserError, match=fault):
        parse_parameter(spec)
