from inat_ray.config.difference import differences, differing
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


def test_of_several_only_the_settings_that_differ_are_told_with_all_values():
    trees = [{"recipe": {"lr": lr}, "data": {"source": "/x"}} for lr in (0.1, 0.1, 0.2)]
    trees[2] |= {"device": "cpu", "model": {"kind": "resnet"}}
    found = differing([Experiment.model_validate(tree) for tree in trees])
    assert found["recipe.lr"] == [0.1, 0.1, 0.2]
    assert found["model.backbone"] == [None, None, "resnet50"]
    assert found["data.image_size"] == [64, 64, 224]
    assert not {"data.source", "device", "recipe.epochs"} & found.keys()


def test_runs_on_other_images_differ():
    sources = [Experiment.model_validate({"data": {"source": s}}) for s in ("/x", "/y")]
    assert differing(sources) == {"data.source": ["/x", "/y"]}


def test_a_parameter_of_a_search_is_one_setting():
    trees = [{"search": {"parameters": {"recipe.lr": {"value": v}}}} for v in (0.1, 0.2)]
    found = differing([Experiment(), *map(Experiment.model_validate, trees)])
    assert found == {"search.parameters.recipe.lr": [None, {"value": 0.1}, {"value": 0.2}]}
