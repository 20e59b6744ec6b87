import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.config.trial import final_experiment, trial_experiment, value_at, with_parameters


def test_parameters_are_put_where_their_names_point():
    changed = with_parameters(
        Experiment(), {"recipe.augmentation.flip": False, "model.filters": [1, 1, 1, 1, 1]}
    )
    assert changed.recipe.augmentation.flip is False
    assert changed.model.filters == [1, 1, 1, 1, 1]


def test_a_trial_whose_values_do_not_go_together_is_told_so():
    parameters = {"recipe.schedule": "warmup_stable_decay", "recipe.warmup_fraction": 0.9}
    with pytest.raises(UserError, match="must not exceed 1"):
        trial_experiment(Experiment(), parameters=parameters, seed=3)
    assert trial_experiment(Experiment(), parameters={"recipe.lr": 0.1}, seed=3).seed == 3


def test_the_winner_trains_as_its_trial_did_unless_it_gets_more_images():
    given = load_experiment(None, settings=["recipe.epochs=7"])
    same = {"parameters": {"recipe.lr": 0.5}, "seed": 3}
    assert final_experiment(given, **same) == trial_experiment(given, **same)
    more = load_experiment(
        None, settings=["recipe.epochs=7", "search.final_validation_fraction=0.05"]
    )
    final = final_experiment(more, **same)
    assert (final.data.validation_fraction, final.recipe.keep) == (0.05, "last")
    assert (final.recipe.lr, final.recipe.epochs, final.seed) == (0.5, 7, 3)
    assert trial_experiment(more, **same).data.validation_fraction == 0.2


def test_a_setting_that_is_not_there_has_no_value():
    assert value_at({"recipe": {"lr": 0.1}}, "recipe.lr") == 0.1
    assert value_at({"recipe": {"lr": 0.1}}, "recipe.lr.max") is None
