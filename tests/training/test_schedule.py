import pytest

from inat_ray.config.experiment import RecipeConfig
from inat_ray.training.schedule import learning_rates, lr_factor


def factors(total: int = 100, **settings) -> list[float]:
    recipe = RecipeConfig.model_validate(settings)
    return [lr_factor(recipe, step, total) for step in range(total)]


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "warmup_stable_decay"])
def test_every_schedule_reaches_its_peak_and_never_exceeds_it(schedule):
    values = factors(schedule=schedule)
    assert 0.99 < max(values) <= 1.0
    assert min(values) > 0


def test_a_constant_rate_is_constant():
    assert set(factors(schedule="constant")) == {1.0}


def test_one_cycle_rises_to_its_peak_where_the_warm_up_ends_and_falls_to_almost_nothing():
    values = factors(schedule="one_cycle", warmup_fraction=0.3)
    assert values[:30] == sorted(values[:30])
    assert values[30:] == sorted(values[30:], reverse=True)
    assert values[0] < 0.01
    assert values[-1] < 0.01


def test_cosine_without_warm_up_falls_from_its_peak_through_a_half_to_zero():
    values = factors(schedule="cosine", warmup_fraction=0.0, total=1001)
    assert values[0] == pytest.approx(1, abs=1e-3)
    assert values[500] == pytest.approx(0.5, abs=1e-3)
    assert values[-1] == pytest.approx(0, abs=1e-3)


def test_warmup_stable_decay_is_stable_between_the_two():
    values = factors(schedule="warmup_stable_decay", warmup_fraction=0.1, decay_fraction=0.4)
    assert set(values[10:60]) == {1.0}
    assert values[5] == pytest.approx(0.55)
    assert values[80] == pytest.approx(0.4875)


@pytest.mark.parametrize("warmup_fraction", [0.0, 0.99])
@pytest.mark.parametrize("total", [1, 2, 1000])
def test_the_shortest_runs_and_the_longest_warm_ups_have_a_rate(warmup_fraction, total):
    for schedule in ("cosine", "one_cycle"):
        values = factors(total=total, schedule=schedule, warmup_fraction=warmup_fraction)
        assert all(0 < value <= 1 for value in values)


def test_the_epochs_share_one_schedule_whose_peak_is_the_recipes_rate():
    recipe = RecipeConfig(lr=0.5, epochs=3, schedule="cosine")
    rates = [rate for epoch in range(3) for rate in learning_rates(recipe, epoch, steps=4)]
    assert rates == [0.5 * lr_factor(recipe, step, 12) for step in range(12)]
