import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inat_ray.config.distributions import Categorical
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.config.overrides import settings_in
from inat_ray.config.space import SearchSpace, search_space
from inat_ray.config.trial import with_parameters

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))


def experiment_with(**parameters) -> Experiment:
    named = {name.replace("__", "."): spec for name, spec in parameters.items()}
    return Experiment.model_validate({"search": {"parameters": named}})


def error_of(**parameters) -> str:
    with pytest.raises(UserError) as caught:
        search_space(experiment_with(**parameters), where="a.yaml")
    return str(caught.value)


def test_a_name_that_does_not_exist_is_told_with_the_near_one():
    message = error_of(recipe__lrr={"value": 1})
    assert message.startswith("a.yaml: search.parameters.recipe.lrr")
    assert "did you mean 'lr'" in message


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"values": []}, "empty"),
        ({"min": 3.0, "max": 1.0}, "above max"),
        ({"min": 0.0, "max": 1.0, "distribution": "log_uniform_values"}, "above 0"),
        ({"values": [0.1, 100]}, "100: should be less than or equal to 10"),
        ({"min": 1e-4, "max": 20.0}, "20.0: should be less"),
        ({"min": -1.0, "max": 1.0}, "-1.0: should be greater than 0"),
        ({"valeu": 2}, "no such key 'valeu'"),
        ({"min": 0.1}, "give `value`"),
        ({"distribution": "gaussian"}, "log_uniform_values"),
        ({"distribution": "uniform", "min": 0.1, "max": 1.0, "q": 0.1}, "takes no q"),
        ({"distribution": "uniform", "min": 0.1}, "needs max"),
        ({"values": [1.0, 2.0], "probabilities": [0.5]}, "1 given for 2"),
        ({"values": [1.0, 2.0], "probabilities": [0.5, 0.6]}, "add up to 1"),
        ({"values": [1.0, 1.0]}, "duplicate"),
        ({"distribution": "normal", "mu": 0.1, "sigma": 0.1}, "should be greater than 0"),
        ({"distribution": "int_uniform", "min": 0.1, "max": 1}, "whole numbers"),
        ({"distribution": "q_uniform", "min": 0.11, "max": 0.19, "q": 0.1}, "no multiple"),
        ({"values": ["high"]}, "valid number"),
    ],
)
def test_a_faulty_parameter_is_told_with_place_and_reason(spec, reason):
    message = error_of(recipe__lr=spec)
    assert message.startswith("a.yaml: search.parameters.recipe.lr")
    assert reason in message


def test_data_cannot_be_searched_because_every_trial_shares_it():
    assert "same for every trial" in error_of(data__pack_size={"values": [32, 64]})
    assert "same for every trial" in error_of(data__image_sizes={"values": [32, 64]})


def test_the_size_of_images_can_be_searched():
    space = space_of("grid", {"data.image_size": {"values": [32, 64]}})
    assert [with_parameters(Experiment(), point).image_size for point in space.grid] == [32, 64]


def test_a_fractional_range_for_a_whole_setting_is_refused():
    assert "model.dense" in error_of(model__dense={"min": 10.5, "max": 20.5})


GRID = {"recipe.epochs": {"min": 1, "max": 5}, "model.dense": {"values": [8, 16]}}


def space_of(method: str, parameters: dict) -> SearchSpace:
    search = {"method": method, "parameters": parameters}
    return search_space(Experiment.model_validate({"search": search}), where="a.yaml")


def test_a_grid_has_the_product_of_its_values_as_points():
    assert len(space_of("grid", GRID).grid) == 10


@pytest.mark.parametrize(
    "spec",
    [
        {"min": 0.1, "max": 1.0},
        {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
        {"distribution": "normal", "mu": 1.0, "sigma": 0.01},
    ],
)
def test_a_grid_over_a_continuous_range_is_refused_with_what_is_allowed(spec):
    parameters = GRID | {"recipe.lr": spec}
    assert "recipe.lr" in space_of("random", parameters).parameters
    with pytest.raises(UserError) as caught:
        space_of("grid", parameters)
    assert str(caught.value).startswith("a.yaml: search.parameters.recipe.lr: a grid")
    assert "categorical, int_uniform, q_uniform" in str(caught.value)


def test_a_grid_of_more_than_100_000_points_is_refused():
    assert len(space_of("grid", GRID | {"seed": {"min": 1, "max": 10_000}}).grid) == 100_000
    with pytest.raises(UserError, match="a grid of more than 100,000 points"):
        space_of("grid", GRID | {"seed": {"min": 0, "max": 10_000}})


ABLATION = {
    "recipe.schedule": {"values": ["constant", "one_cycle", "cosine"]},
    "model.dropout": {"value": 0.5},
    "seed": {"values": [3, 4]},
}


def test_an_ablation_changes_one_value_at_a_time_each_with_every_seed():
    grid = space_of("ablation", ABLATION).grid
    assert grid[0] == {"recipe.schedule": "one_cycle", "model.dropout": 0.0, "seed": 3}
    found = [(p["recipe.schedule"], p["model.dropout"]) for p in grid]
    changed = [("one_cycle", 0.0), ("constant", 0.0), ("cosine", 0.0), ("one_cycle", 0.5)]
    assert found == [each for each in changed for _ in range(2)]
    assert [p["seed"] for p in grid] == [3, 4] * 4


def test_without_seeds_an_ablation_tries_each_change_once():
    space = space_of("ablation", {"model.dropout": {"values": [0.0, 0.1, 0.2]}})
    assert [p["model.dropout"] for p in space.grid] == [0.0, 0.1, 0.2]


def test_an_ablation_tries_no_setting_where_its_condition_is_not_met():
    momentum = {"values": [0.8], "when": {"recipe.optimizer": "sgd"}}
    optimizers = {"values": ["sgd", "adam"]}
    space = space_of("ablation", {"recipe.optimizer": optimizers, "recipe.momentum": momentum})
    assert space.grid == [
        {"recipe.optimizer": "adamw"},
        {"recipe.optimizer": "sgd", "recipe.momentum": 0.9},
        {"recipe.optimizer": "adam"},
    ]


def test_a_setting_of_an_ablation_can_depend_on_the_experiments_own_value_unlisted():
    momentum = {"values": [0.8], "when": {"recipe.optimizer": "adamw"}}
    optimizers = {"values": ["adam"]}
    space = space_of("ablation", {"recipe.optimizer": optimizers, "recipe.momentum": momentum})
    assert space.grid == [
        {"recipe.optimizer": "adamw", "recipe.momentum": 0.9},
        {"recipe.optimizer": "adam"},
        {"recipe.optimizer": "adamw", "recipe.momentum": 0.8},
    ]


def test_an_ablation_knows_the_experiments_own_value_however_it_is_written():
    parameters = {
        "model.dropout": {"values": [0, 0.2]},
        "recipe.lr": {"values": [0.01, 0.003]},
    }
    found = [(p["model.dropout"], p["recipe.lr"]) for p in space_of("ablation", parameters).grid]
    assert found == [(0.0, 0.003), (0.2, 0.003), (0.0, 0.01)]


def test_an_ablation_over_a_range_is_refused():
    with pytest.raises(UserError, match=r"recipe.lr: an ablation changes a value.*categorical"):
        space_of("ablation", {"recipe.lr": {"min": 0.1, "max": 1.0}})


def test_the_seed_can_be_searched_like_a_setting():
    space = space_of("random", {"seed": {"values": [0, 1, 2]}})
    assert with_parameters(Experiment(), space.from_units({"seed": 0.5})).seed == 1


def test_a_seed_that_is_no_seed_is_refused():
    assert "seed: -1: should be greater than or equal to 0" in error_of(seed={"values": [0, -1]})
    assert "there is no setting of that name" in error_of(seed__x={"values": [0]})


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_draw_of_the_projects_own_spaces_is_a_valid_experiment(path):
    experiment = load_experiment(path)
    space = search_space(experiment, where=str(path))
    rng = np.random.default_rng(0)
    for _ in range(20):
        drawn = space.from_units({name: rng.random() for name in space.parameters})
        assert with_parameters(experiment, drawn).name == experiment.name


def test_the_origins_space_has_1152_configurations():
    path = next(p for p in EXPERIMENTS if p.stem == "cnn_random")
    space = search_space(load_experiment(path), where=str(path))
    sizes = [len(p.values) for p in space.parameters.values() if isinstance(p, Categorical)]
    assert len(sizes) == len(space.parameters)
    assert math.prod(sizes) == 1152


def conditional(when) -> dict:
    return {
        "recipe.optimizer": {"values": ["adamw", "sgd"]},
        "recipe.momentum": {"min": 0.5, "max": 0.99, "when": when},
    }


def test_a_parameter_exists_where_its_condition_holds():
    space = space_of("random", conditional({"recipe.optimizer": "sgd"}))
    units = {"recipe.momentum": 0.5}
    assert space.from_units({"recipe.optimizer": 0.1, **units}) == {"recipe.optimizer": "adamw"}
    assert set(space.from_units({"recipe.optimizer": 0.9, **units})) == set(space.parameters)


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ({"recipe.optimiser": "sgd"}, "recipe.optimiser: is not declared above this parameter"),
        ({"recipe.optimizer": "adagrad"}, "adagrad: is no value of that parameter"),
        ({"recipe.optimizer": []}, "the list is empty"),
        ("sgd", "should be a mapping"),
    ],
)
def test_a_condition_that_can_never_hold_is_refused(when, message):
    with pytest.raises(UserError, match=message):
        space_of("random", conditional(when))


def test_a_list_is_several_values_or_one_that_is_a_list():
    filters = {"values": [[4] * 5, [8] * 5]}
    dense = {"min": 8, "max": 9, "when": {"model.filters": [8] * 5}}
    space = space_of("grid", {"model.filters": filters, "model.dense": dense})
    assert space.grid == [
        {"model.filters": [4] * 5},
        {"model.filters": [8] * 5, "model.dense": 8},
        {"model.filters": [8] * 5, "model.dense": 9},
    ]


def first_of(*points) -> tuple:
    search = {"parameters": {"recipe.lr": {"min": 0.01, "max": 0.1}}, "first": list(points)}
    return search_space(Experiment.model_validate({"search": search}), where="a.yaml").first


def test_a_first_point_takes_what_it_does_not_name_from_the_experiment():
    assert first_of({"recipe.lr": 0.02}) == ({"recipe.lr": 0.02},)
    with pytest.raises(
        UserError, match=r"first\[0\]: recipe.lr: 0.003, which is the experiment's own"
    ):
        first_of({})


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"recipe.lr": 0.2}, r"search.first\[0\]: recipe.lr: 0.2 is no value that the space has"),
        ({"recipe.ema": 1}, r"search.first\[0\]: recipe.ema: is no parameter"),
    ],
)
def test_a_first_point_outside_the_space_is_refused(point, message):
    with pytest.raises(UserError, match=message):
        first_of(point)


def of(name: str, spec: dict):
    experiment = Experiment.model_validate({"search": {"parameters": {name: spec}}})
    return search_space(experiment, where="a.yaml").parameters[name]


def drawn(name: str, spec: dict) -> list:
    parameter = of(name, spec)
    return [parameter.from_unit(u) for u in np.random.default_rng(0).random(200)]


@pytest.mark.parametrize("distribution", ["uniform", "log_uniform_values"])
def test_a_continuous_range_of_a_whole_setting_is_refused_though_its_ends_are_whole(distribution):
    message = error_of(recipe__batch_size={"distribution": distribution, "min": 8, "max": 32})
    assert message.startswith("a.yaml: search.parameters.recipe.batch_size: this setting is a")
    assert f"{distribution} draws fractions" in message
    assert "int_uniform" in message
    assert "q_uniform" in message


def test_a_step_that_is_not_whole_is_refused_for_a_whole_setting():
    spec = {"distribution": "q_uniform", "min": 8, "max": 32, "q": 2.5}
    assert "q 2.5, draws fractions" in error_of(recipe__batch_size=spec)
    spec = {"distribution": "normal", "mu": 20, "sigma": 1, "min": 8, "max": 32}
    assert "normal draws fractions" in error_of(recipe__batch_size=spec)
    spec = {"distribution": "int_uniform", "min": 8.5, "max": 32}
    assert "whole bounds" in error_of(recipe__batch_size=spec)


@pytest.mark.parametrize(
    "spec",
    [
        {"min": 8.0, "max": 10.0},
        {"min": "8", "max": "10"},
        {"distribution": "int_uniform", "min": 8.0, "max": 10},
        {"distribution": "q_uniform", "min": 7.5, "max": 10.5, "q": 1.0},
    ],
)
def test_a_whole_setting_is_drawn_as_a_whole_number_however_it_is_written(spec):
    assert {json.dumps(value) for value in drawn("recipe.batch_size", spec)} == {"8", "9", "10"}


@pytest.mark.parametrize(
    "name", ["model.dropout", "recipe.augmentation.erase", "model.conv_dropout"]
)
def test_two_whole_bounds_of_a_continuous_setting_are_a_continuous_range(name):
    assert len(set(drawn(name, {"min": 0, "max": "0.5"}))) == 200


def test_a_range_of_what_is_no_number_is_refused():
    for name in ("model__batch_norm", "model__activation", "model__filters"):
        assert "no number and has no range" in error_of(**{name: {"min": 0, "max": 1}})


def test_conditions_and_first_points_are_of_their_settings_type():
    search = {
        "parameters": {
            "recipe.batch_size": {"values": ["16", 32]},
            "recipe.lr": {"min": 0.1, "max": 0.2, "when": {"recipe.batch_size": "16"}},
        },
        "first": [{"recipe.batch_size": "16", "recipe.lr": "0.1"}],
    }
    space = search_space(Experiment.model_validate({"search": search}), where="a.yaml")
    assert space.conditions["recipe.lr"] == {"recipe.batch_size": (16,)}
    assert space.first == ({"recipe.batch_size": 16, "recipe.lr": 0.1},)


def test_whole_numbers_without_end_are_refused():
    assert "steps from 1 to" in error_of(recipe__epochs={"min": 1, "max": 10**30})


def test_whole_models_can_be_listed():
    assert of("model", {"values": [{"kind": "cnn"}, {"kind": "resnet"}]}).size == 2


KINDS = {"values": ["cnn", "pretrained"]}
OF_A_CNN, OF_A_PRETRAINED = {"model.kind": "cnn"}, {"model.kind": "pretrained"}


def test_each_kind_of_model_has_its_own_parameters_and_nothing_of_the_other():
    parameters = {
        "model.kind": KINDS,
        "model.dense": {"values": [8], "when": OF_A_CNN},
        "model.backbone": {"values": ["resnet18", "resnet34"], "when": OF_A_PRETRAINED},
    }
    model = {"filters": [4] * 5, "dropout": 0.5}
    search = {"method": "grid", "parameters": parameters}
    experiment = Experiment.model_validate({"model": model, "search": search})
    grid = search_space(experiment).grid
    tried = [with_parameters(experiment, point) for point in grid]
    assert [(each.model.kind, each.model.dropout) for each in tried] == [
        ("cnn", 0.5),
        ("pretrained", 0.0),
        ("pretrained", 0.0),
    ]
    assert (tried[0].model.filters, tried[0].model.dense) == ([4] * 5, 8)
    assert [each.model.backbone for each in tried[1:]] == ["resnet18", "resnet34"]
    assert [each.image_size for each in tried] == [64, 224, 224]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("dense", [8], "model.dense: model.kind pretrained has no setting dense;"),
        ("dense", [8], "give it when: {model.kind: cnn}"),
        ("backbone", ["resnet18"], "give it when: {model.kind: [pretrained, resnet]}"),
        ("bakcbone", ["resnet18"], "there is no such setting"),
    ],
)
def test_a_setting_that_only_some_kinds_have_needs_a_condition(name, values, message):
    parameters = {
        "model__kind": {"values": ["cnn", "pretrained", "resnet"]},
        f"model__{name}": {"values": values},
    }
    assert message in error_of(**parameters)


def test_a_kind_is_listed_above_the_settings_that_it_decides_on():
    message = error_of(model__dropout={"value": 0.1}, model__kind=KINDS)
    assert "model.kind: decides which settings there are; list it above model.dropout" in message


def test_what_a_kind_needs_can_be_given_with_it():
    module = {"model.kind": "module"}
    space = space_of(
        "grid",
        {
            "model.kind": {"values": ["cnn", "module"]},
            "model.target": {"value": "net.py:Net", "when": module},
            "model.args.width": {"values": [4, 8], "when": module},
        },
    )
    assert [with_parameters(Experiment(), each).model.kind for each in space.grid] == [
        "cnn",
        "module",
        "module",
    ]


def test_a_strategy_takes_over_nothing_from_the_experiments_own():
    freeze = {"strategy": "fraction", "fraction": 0.5}
    parameters = {
        "model.freeze.strategy": {"values": ["none", "fraction", "first_k"]},
        "model.freeze.k": {"min": 3, "max": 4, "when": {"model.freeze.strategy": "first_k"}},
    }
    search = {"method": "grid", "parameters": parameters}
    experiment = Experiment.model_validate(
        {"model": {"kind": "resnet", "freeze": freeze}, "search": search}
    )
    found = [
        with_parameters(experiment, point).model.freeze for point in search_space(experiment).grid
    ]
    assert [(each.k, each.fraction) for each in found] == [
        (None, None),
        (None, 0.5),
        (3, None),
        (4, None),
    ]


def test_a_condition_that_another_one_excludes_is_refused():
    freeze = {"values": ["none", "head_only"], "when": OF_A_PRETRAINED}
    both = {"model.freeze.strategy": "head_only", **OF_A_CNN}
    message = error_of(
        model__kind=KINDS,
        model__freeze__strategy=freeze,
        recipe__lr={"values": [0.1], "when": both},
    )
    assert "recipe.lr.when: never holds: another condition excludes this model.kind" in message


def test_a_first_point_has_its_kinds_defaults_where_it_names_nothing():
    parameters = {
        "model.kind": KINDS,
        "model.backbone": {"values": ["resnet18", "resnet50"], "when": OF_A_PRETRAINED},
        "model.dense": {"values": [8, 16], "when": OF_A_CNN},
    }
    search = {"parameters": parameters, "first": [OF_A_PRETRAINED, {"model.dense": 8}]}
    tree = {"model": {"dense": 16}, "search": search}
    assert search_space(Experiment.model_validate(tree)).first == (
        {"model.kind": "pretrained", "model.backbone": "resnet50"},
        {"model.kind": "cnn", "model.dense": 8},
    )
    search["first"] = [{"model.kind": "pretrained", "model.backbone": "resnet34"}]
    with pytest.raises(UserError, match="resnet34 is no value that the space has"):
        search_space(Experiment.model_validate(tree))


def test_an_ablation_tries_another_kind_with_its_defaults():
    space = space_of(
        "ablation",
        {
            "model.kind": {"values": ["pretrained"]},
            "model.backbone": {"values": ["resnet18"], "when": OF_A_PRETRAINED},
            "model.dense": {"values": [8], "when": OF_A_CNN},
        },
    )
    assert space.grid == [
        {"model.kind": "cnn", "model.dense": 256},
        {"model.kind": "pretrained"},
        {"model.kind": "cnn", "model.dense": 8},
    ]


DECLARED = {
    "model.kind": {"values": ["cnn", "resnet"], "probabilities": [0.3, 0.7]},
    "model.dense": {"min": 4, "max": 9, "when": OF_A_CNN},
    "model.backbone": {"values": ["resnet18", "resnet34"], "when": {"model.kind": "resnet"}},
    "model.weights": {"value": "none", "when": {"model.kind": "resnet"}},
    "model.freeze.strategy": {
        "values": ["none", "first_k", "head_only"],
        "when": {"model.backbone": "resnet34"},
    },
    "model.freeze.k": {"min": 1, "max": 9, "when": {"model.freeze.strategy": "first_k"}},
    "model.dropout": {"min": 0.0, "max": 0.5},
    "data.image_size": {"min": 32, "max": 40, "when": OF_A_CNN},
}


@given(
    st.permutations([*DECLARED][1:]),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=8, max_size=8),
    st.sampled_from([{"dense": 5, "dropout": 0.1}, {"kind": "resnet", "weights": "none"}]),
)
@settings(max_examples=60, deadline=None)
def test_every_draw_is_a_model_of_its_kind_whatever_the_order_and_the_base(order, units, model):
    above = {"model.freeze.strategy": "model.backbone", "model.freeze.k": "model.freeze.strategy"}
    names = sorted(order, key=lambda name: name in above)
    names.sort(key=lambda name: name == "model.freeze.k")
    names.sort(key=lambda name: name != "model.weights")  # the default has no resnet18
    declared = {name: DECLARED[name] for name in ["model.kind", *names]}
    experiment = Experiment.model_validate({"model": model, "search": {"parameters": declared}})
    point = search_space(experiment).from_units(dict(zip(declared, units, strict=True)))
    tried = with_parameters(experiment, point)
    assert tried.model.kind == point["model.kind"]
    held = settings_in(tried.model_dump(mode="json", exclude={"search"}))
    assert {name: held[name] for name in point} == point
    is_cnn = tried.model.kind == "cnn"
    assert is_cnn == ("model.dense" in point) == ("data.image_size" in point)
    assert is_cnn != ("model.backbone" in point)
    assert tried == with_parameters(experiment, dict(reversed(point.items())))


def test_a_value_of_probability_0_is_no_point_of_the_space():
    parameters = {
        "recipe.batch_size": {"values": [8, 16, 32], "probabilities": [0, 1, 0]},
        "seed": {"values": [0, 1]},
    }
    space = space_of("random", parameters)
    assert [point["recipe.batch_size"] for point in space.grid] == [16, 16]
    batch = space.parameters["recipe.batch_size"]
    assert {batch.from_unit(u) for u in (0.0, 0.5, math.nextafter(1.0, 0.0))} == {16}
    assert batch.contains(8)


def test_a_setting_after_a_part_of_it_is_refused_for_it_would_replace_the_part():
    flip = {"values": [True, False]}
    whole = {"values": [{"mixup": 1.0}, {"mixup": 0.5}]}
    names = ("recipe.augmentation.flip", "recipe.augmentation")
    parameters = dict(zip(names, (flip, whole), strict=True))
    experiment = Experiment.model_validate({"search": {"parameters": parameters}})
    with pytest.raises(
        UserError, match=r"recipe\.augmentation: would replace .*flip.*list it first"
    ):
        search_space(experiment)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("recipe.batch_size", [16, "16"]),
        ("recipe.batch_size", [16.0, 16]),
        ("model.batch_norm", [True, "true"]),
        ("model.batch_norm", [1, True]),
        ("recipe.lr", [1, 1.0]),
        ("recipe.augmentation", [{}, {"flip": True}]),
    ],
)
def test_a_value_written_in_two_ways_stands_twice(name, values):
    assert "duplicate value" in error_of(**{name.replace(".", "__"): {"values": values}})
