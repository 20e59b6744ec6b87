import math

import numpy as np
import pytest

from inat_ray.config.parameter_spec import parse_parameter
from inat_ray.config.wandb.distributions import drawn, kept_inside
from inat_ray.config.wandb.parameters import setting_at


def extremes(spec: dict) -> list:
    return parse_parameter(drawn(spec)).extremes


@pytest.mark.parametrize(
    ("spec", "low", "high"),
    [
        ({"min": 1, "max": 4}, 1, 4),
        ({"min": 0.0, "max": 1}, 0, 1),
        ({"distribution": "uniform", "min": 0, "max": 1}, 0, 1),
        ({"distribution": "log_uniform", "min": -9, "max": -2}, math.exp(-9), math.exp(-2)),
        ({"distribution": "log_uniform_values", "min": "1e-5", "max": "1e-2"}, 1e-5, 1e-2),
        ({"distribution": "inv_log_uniform", "min": 2, "max": 9}, math.exp(-9), math.exp(-2)),
        ({"distribution": "inv_log_uniform_values", "min": 1e-5, "max": 1e-2}, 1e-5, 1e-2),
        ({"distribution": "q_log_uniform", "min": 3.4, "max": 5.6, "q": 8}, 32, 272),
        ({"distribution": "q_log_uniform_values", "min": 10, "max": 60, "q": 8}, 8, 64),
        ({"distribution": "q_uniform", "min": 0.6, "max": 5.4}, 1, 5),
    ],
)
def test_a_range_has_the_ends_that_wandb_draws(spec, low, high):
    assert extremes(spec) == pytest.approx([low, high], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "mu", "sigma"),
    [("normal", 2, 0.5), ("q_normal", 64, 8), ("log_normal", -3, 0.5), ("q_log_normal", 4, 0.3)],
)
def test_a_normal_has_its_mean_and_deviation(name, mu, sigma):
    parameter = parse_parameter(drawn({"distribution": name, "mu": mu, "sigma": sigma}))
    values = [parameter.from_unit(u) for u in np.random.default_rng(0).random(2000)]
    values = np.log(values) if "log" in name else np.array(values)
    assert values.mean() == pytest.approx(mu, abs=0.1 * sigma)
    assert values.std() == pytest.approx(sigma, rel=0.1)


def test_defaults_of_wandb_are_written_out():
    assert drawn({"distribution": "normal"}) == {"distribution": "normal", "mu": 0, "sigma": 1}
    stepped = drawn({"distribution": "q_uniform", "min": 0, "max": 9})
    assert stepped == {"distribution": "q_uniform", "min": 0, "max": 9, "q": 1}


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({}, "neither value, values"),
        ({"distribution": "beta", "a": 1, "b": 2}, "'beta'"),
        ({"distribution": "constant"}, "needs value"),
        ({"distribution": "log_uniform", "min": 1e-5, "max": 0.1}, "exponents of e, so W&B draws"),
        ({"distribution": "log_uniform", "min": -900, "max": 900}, "too much"),
        ({"distribution": "uniform", "min": "low", "max": 1}, "'low' is no number"),
        ({"distribution": "uniform", "min": None, "max": 1}, "min is empty"),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}, "makes no steps"),
        ({"distribution": "log_uniform", "min": 0}, "needs min and max"),
    ],
)
def test_a_distribution_that_cannot_be_read_says_why(spec, reason):
    with pytest.raises(ValueError, match=reason):
        drawn(spec)


def test_a_normal_is_kept_within_its_setting():
    dropout = setting_at("model.dropout")
    wide = {"distribution": "normal", "mu": 0.3, "sigma": 0.1}
    assert kept_inside(wide, dropout) == wide | {"min": 0}
    assert kept_inside(wide | {"min": 0.2}, dropout) == wide | {"min": 0.2}
    with pytest.raises(ValueError, match="must be below 1"):
        kept_inside(wide | {"sigma": 0.2}, dropout)
    with pytest.raises(ValueError, match="must be above 0"):
        kept_inside(wide | {"mu": 0.001}, setting_at("recipe.lr"))
    logs = {"distribution": "log_normal", "mu": -6, "sigma": 1}
    assert kept_inside(logs, setting_at("recipe.lr")) == logs
