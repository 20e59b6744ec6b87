from inat_ray.config.difference import differences
from inat_ray.config.experiment import Experiment


def test_equal_experiments_do_not_differ():
    assert differences(Experiment(), Experiment()) == []


def test_a_difference_names_key_and_both_values():
    now = Experiment.model_validate({"recipe": {"lr": 0.5}, "search": {"trials": 3}})
    assert differences(Experiment(), now) == [
        "recipe.lr: 0.003 before, 0.5 now",
        "search.trials: None before, 3 now",
    ]


def test_a_parameter_that_is_new_is_a_difference():
    now = Experiment.model_validate({"search": {"parameters": {"recipe.lr": {"value": 0.1}}}})
    assert differences(Experiment(), now) == [
        "search.parameters: {} before, nothing now",
        "search.parameters.recipe.lr.value: nothing before, 0.1 now",
    ]


def test_where_and_on_what_a_run_goes_on_is_no_difference():
    tree = {
        "data": {"source": "/x", "cache": "/y"},
        "device": "cpu",
        "resources": {"max_failures": 9},
    }
    assert differences(Experiment(), Experiment.model_validate(tree)) == []
