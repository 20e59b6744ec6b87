import pytest

from inat_ray.config.wandb.choices import combined, listed, shared


def test_a_range_of_few_whole_numbers_is_a_list_and_one_without_end_is_none():
    spec = {"distribution": "int_uniform", "min": 1, "max": 2}
    assert listed(spec) == [(1, 0.5), (2, 0.5)]
    with pytest.raises(ValueError, match="this setting has no range"):
        listed(spec | {"distribution": "uniform"})


def test_every_choice_of_one_value_each_has_the_product_of_their_probabilities():
    parts = [[(1, 0.5), (2, 0.5)], [(10, 0.2), (20, 0.8)]]
    assert combined(parts, lambda one, ten: one + ten) == [
        *((11, 0.1), (21, 0.4), (12, 0.1), (22, 0.4)),
    ]
    with pytest.raises(ValueError, match="256 combinations are too many"):
        combined([parts[0]] * 8, lambda *_: 0)


def test_shares_of_a_number_keep_how_they_are_drawn():
    spec = {"distribution": "log_uniform_values", "min": 1e-5, "max": 3e-4}
    assert shared(spec, 1e-3) == spec | {"min": 0.01, "max": 0.3}
    assert shared({"values": [1, 2]}, 10) == {"values": [0.1, 0.2]}
    with pytest.raises(ValueError, match="no range"):
        shared({"distribution": "normal", "mu": 1, "sigma": 1}, 10)
