import math

import pytest

from inat_ray.boards.hparam_columns import MOST_CHOICES, hparam_info, kind_shown
from inat_ray.config.distributions import Categorical, Numeric


def one_of(*values) -> Categorical:
    return Categorical(values, tuple(1 / len(values) for _ in values))


@pytest.mark.parametrize(
    ("kind", "values", "shown"),
    [
        ("boolean", [True, False], [True, False]),
        ("number", [256, 0.5], ["256", "0.5"]),
        ("string", ["relu", None, [8, 8]], ["relu", "null", "[8, 8]"]),
    ],
)
def test_choices_are_a_discrete_domain_in_the_type_of_the_column(kind, values, shown):
    domain = hparam_info("a", kind_shown(kind, one_of(*values)), one_of(*values)).domain_discrete
    assert list(domain) == shown
    assert [type(value) for value in domain] == [type(value) for value in shown]


def test_a_number_has_the_interval_that_it_is_drawn_from():
    assert kind_shown("number", Numeric("log", low=1e-4, high=0.1)) == "number"
    domain = hparam_info("lr", "number", Numeric("log", low=1e-4, high=0.1)).domain_interval
    assert (domain.min_value, domain.max_value) == (1e-4, 0.1)


@pytest.mark.parametrize(
    "parameter",
    [
        None,
        Numeric("normal", low=-math.inf, high=math.inf),
        Numeric("normal", low=0.0, high=math.inf),
        one_of(*range(MOST_CHOICES + 1)),
    ],
)
def test_what_has_no_domain_that_can_be_shown_is_declared_without_one(parameter):
    info = hparam_info("a", "number", parameter)
    assert info.name == "a"
    assert info.WhichOneof("domain") is None
