import pytest

from inat_ray.config.wandb.parameters import read_parameters
from inat_ray.config.wandb.translation import Translation


def read(parameters: dict, **given) -> Translation:
    found = Translation()
    given = {name.replace("__", "."): value for name, value in given.items()}
    read_parameters(found, parameters, given=given)
    return found


def searched(parameters: dict, **given) -> dict:
    found = read(parameters, **given)
    assert found.questions == []
    return found.tree["search"]["parameters"]


@pytest.mark.parametrize(
    ("name", "values", "setting", "ours"),
    [
        ("Learning-Rate", ["1e-3", 0.01], "recipe.lr", [0.001, 0.01]),
        ("use_bn", ["Yes", "No"], "model.batch_norm", [True, False]),
        ("augmentation", ["none", True], "recipe.augment", [False, True]),
        ("optim", ["SGD", "AdamW"], "recipe.optimizer", ["sgd", "adamw"]),
        ("scheduler", ["OneCycleLR", "none"], "recipe.schedule", ["one_cycle", "constant"]),
        ("act_fn", ["swish", "Mish"], "model.activation", ["silu", "mish"]),
        ("filter_size", ["3", [7, 5, 5, 3, 3]], "model.kernel_sizes", [[3] * 5, [7, 5, 5, 3, 3]]),
        ("img_size", [[64, 64], 128], "data.image_size", [64, 128]),
        ("weight_init", ["kaiming_normal", "default"], "model.initialization", ["he", "pytorch"]),
        ("recipe.label_smoothing", [0, 0.1], "recipe.label_smoothing", [0, 0.1]),
        ("model.activation", ["ReLU", "GELU"], "model.activation", ["relu", "gelu"]),
    ],
)
def test_a_habit_is_a_setting_with_its_own_values(name, values, setting, ours):
    assert searched({name: {"values": values}}) == {setting: {"values": ours}}


def test_a_single_value_is_fixed_and_a_value_that_is_there_twice_is_as_likely():
    found = read({"epochs": {"values": [10]}, "dropout": {"value": "0.2"}})
    assert found.tree == {"recipe": {"epochs": 10}, "model": {"dropout": 0.2}}
    twice = searched({"opt": {"values": ["Adam", "adam", "sgd", "nesterov", "adamw", "muon"]}})
    assert twice["recipe.optimizer"] == {
        "values": ["adam", "sgd", "adamw", "muon"],
        "probabilities": [0.333333333, 0.333333333, 0.166666667, 0.166666667],
    }


def test_two_whole_bounds_draw_whole_numbers_and_the_reader_is_told():
    found = read({"weight_decay": {"min": 0, "max": 1}})
    assert found.rows[0].value["distribution"] == "int_uniform"
    assert "whole numbers alone" in found.rows[0].note


@pytest.mark.parametrize(
    ("parameters", "ours"),
    [
        ({"num_filters": {"value": [8, 8, 16, 16, 32]}}, [[8, 8, 16, 16, 32]]),
        ({"n_filters": {"values": ["[8,8,8,8,8]", "1,2,3,4,5"]}}, [[8] * 5, [1, 2, 3, 4, 5]]),
        (
            {"num_filters": {"value": 8}, "filter_multiplier": {"values": [0.5, "2"]}},
            [[8, 4, 2, 1, 1], [8, 16, 32, 64, 128]],
        ),
        (
            {"base_filters": {"min": 1, "max": 2}, "filter_org": {"value": "same"}},
            [[1] * 5, [2] * 5],
        ),
    ],
)
def test_filters_are_one_setting(parameters, ours):
    found = read(parameters)
    assert found.questions == []
    value = found.rows[0].value
    assert (value["values"] if isinstance(value, dict) else [value]) == ours


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"num_filters": {"value": 8}}, "how the filters change from block to block"),
        ({"filter_org": {"value": "same"}}, "--set parameters.num_filters.value=32"),
        ({"num_filters": {"value": 8}, "filter_org": {"value": "zigzag"}}, "'zigzag' cannot"),
        ({"num_filters": {"value": [1, 2]}}, "[1, 2] cannot be had"),
        ({"num_filters": {"value": 8}, "filters": {"value": 4}}, "say the same"),
        (
            {"num_filters": {"min": 8, "max": 80}, "filter_org": {"values": ["same", "half"]}},
            "146 combinations",
        ),
    ],
)
def test_filters_that_are_not_all_said_are_asked_about(parameters, reason):
    (question,) = read(parameters).questions
    assert reason in question


@pytest.mark.parametrize(
    ("name", "spec", "setting", "ours", "strategy"),
    [
        ("freeze_percent", {"values": [30, 80]}, "fraction", {"values": [0.3, 0.8]}, "fraction"),
        ("num_freeze_layers", {"min": 0, "max": 20}, "k", {"min": 0, "max": 20}, "first_k"),
        ("freeze_ratio", {"min": 0.1, "max": 0.9}, "fraction", {"max": 0.9}, "fraction"),
    ],
)
def test_what_is_frozen_has_its_strategy_beside_it(name, spec, setting, ours, strategy):
    found = read({"arch": {"value": "resnet34"}, name: spec})
    parameter = found.tree["search"]["parameters"][f"model.freeze.{setting}"]
    assert parameter.items() >= ours.items()
    assert found.tree["model"]["freeze"]["strategy"] == strategy


def test_freezing_or_not_are_two_strategies():
    parameters = {"backbone": {"value": "ResNet18"}, "freeze_backbone": {"values": [True, False]}}
    assert searched(parameters)["model.freeze"] == {
        "values": [{"strategy": "head_only"}, {"strategy": "none"}]
    }


def test_without_a_network_to_freeze_one_is_asked_for():
    freeze = {"freeze": {"values": [True, False]}}
    (question, *_) = read(freeze).questions
    assert "--set parameters.backbone.value=resnet50" in question
    assert "model.freeze" in searched(freeze, model__backbone="resnet18")


def test_two_ways_to_say_what_is_frozen_are_one_too_many():
    names = ("freeze_layers", "freeze_ratio")
    found = read({"model": {"value": "resnet18"}, **{name: {"value": 0} for name in names}})
    assert found.questions == [
        "parameters.freeze_ratio: is model.freeze, as parameters.freeze_layers is;"
        " --set parameters.freeze_ratio=null leaves it out"
    ]


def test_layers_that_are_frozen_or_not_are_no_number_of_them():
    network = {"backbone": {"value": "resnet18"}}
    for name, ways in (
        ("freeze_layers", ["head_only", "none"]),
        ("fine_tune", ["none", "head_only"]),
    ):
        found = searched(network | {name: {"values": [True, False]}})
        assert found["model.freeze"]["values"] == [{"strategy": way} for way in ways]
    quoted = searched(network | {"freeze_layers": {"values": ["2", "5"]}})
    assert quoted["model.freeze.k"]["values"] == [2, 5]
    (question,) = read(network | {"num_trainable_layers": {"values": [2, 4]}}).questions
    assert "2 cannot be had; true, false, all, head_only (layers are counted from" in question


def test_each_block_may_have_a_parameter_of_its_own():
    blocks = {f"conv{block}_filters": {"values": [8, 16]} for block in range(1, 6)}
    assert len(searched(blocks)["model.filters"]["values"]) == 32
    asked = read(blocks | {"num_filters": {"value": [8] * 5}}).questions
    assert len(asked) == 5
    assert "is model.filters, as parameters.num_filters is" in asked[0]
    (question,) = read({"filters_1": {"value": 8}}).questions
    assert "the filters are those of 1; --set 'search.parameters.model.filters={" in question
    assert read(blocks, model__filters=[8] * 5).questions == []


def test_the_one_dense_layer_may_have_a_number():
    found = read({"fc1": {"values": [64, 128]}, "fc2": {"value": 32}})
    assert found.tree["search"]["parameters"] == {"model.dense": {"values": [64, 128]}}
    assert "parameters.fc2: the CNN has one dense layer" in found.questions[0]


def test_a_rate_of_the_backbone_is_a_share_of_that_of_the_head():
    rates = {"backbone_lr": {"values": [1e-5, 1e-4]}, "head_lr": {"value": 1e-3}}
    assert searched(rates) == {"recipe.backbone_lr_factor": {"values": [0.01, 0.1]}}
    exponents = {"distribution": "log_uniform", "min": 1e-5, "max": 1e-2}
    (question,) = read(rates | {"backbone_lr": exponents}).questions
    assert "--set parameters.backbone_lr.distribution=log_uniform_values draws 1e-05" in question
    rates["head_lr"] = {"values": [1e-3, 1e-2]}
    (question,) = read(rates).questions
    assert "a share of recipe.lr, for which the sweep has no single number" in question
    answer = {"search.parameters.recipe.backbone_lr_factor": {"values": [0.1]}}
    assert read(rates, **answer).questions == []
    warmup = {"warmup_epochs": {"min": 0, "max": 2}}
    assert searched(warmup, recipe__epochs=20)["recipe.warmup_fraction"]["values"] == [0, 0.05, 0.1]


def test_a_schedule_in_steps_has_no_counterpart_and_the_nearest_is_named():
    steps = {"lr_scheduler": ["StepLR", "CosineAnnealingLR"], "step_size": [5], "gamma": [0.1]}
    of_schedule, *others = read({name: {"values": v} for name, v in steps.items()}).questions
    assert "'StepLR' cannot be had" in of_schedule
    assert "--set 'parameters.lr_scheduler.values=[CosineAnnealingLR]' goes on" in of_schedule
    assert all("nearest is recipe.schedule warmup_stable_decay" in each for each in others)


@pytest.mark.parametrize(
    ("schedules", "others", "warmup"),
    [
        (["CosineAnnealingLR", "none"], {}, 0.0),
        (["cosine"], {}, None),
        (["CosineAnnealingLR", "OneCycleLR"], {}, None),
        (["CosineAnnealing"], {"warmup_ratio": {"value": 0.3}}, 0.3),
    ],
)
def test_cosine_annealing_has_no_warm_up(schedules, others, warmup):
    found = read({"scheduler": {"values": schedules}} | others)
    assert found.tree.get("recipe", {}).get("warmup_fraction") == warmup


def test_a_network_from_scratch_is_the_cnn():
    found = read({"model": {"value": "CNN"}, "dense_units": {"values": [64, 128]}})
    assert found.tree["model"] == {"kind": "cnn"}


def test_a_network_of_ones_own_takes_what_is_no_setting_as_its_arguments():
    parameters = {"width": {"values": [8, 16]}, "dropout": {"min": 0.1, "max": 0.5}}
    found = searched(parameters | {"lr": {"values": [0.1, 0.2]}}, model__kind="module")
    assert set(found) == {"model.args.width", "model.args.dropout", "recipe.lr"}


def test_what_changes_nothing_here_needs_no_answer():
    parameters = {
        "num_workers": {"value": 4},
        "dataset": {"value": "inaturalist"},
        "criterion": {"value": "CrossEntropyLoss"},
        "num_conv_layers": {"value": 5},
    }
    found = read(parameters)
    assert (found.questions, found.tree) == ([], {})
    assert [row.note for row in found.rows][1:3] == [
        *("the photographs of --data tell it", "the loss is cross-entropy"),
    ]


def test_a_group_that_nobody_knows_hides_what_is_in_it():
    (question,) = read({"discriminator.lr": {"value": 0.1}}).questions
    assert question.startswith("parameters.discriminator.lr: there is no setting of that name here")


def test_a_slip_of_the_pen_is_guessed_at_but_not_taken():
    (question,) = read({"learing_rate": {"value": 0.1}}).questions
    assert "is it recipe.lr?" in question


def test_what_the_command_line_says_is_not_asked_about():
    parameters = {"optimizer": {"values": ["lion"]}, "filters": {"value": 3}}
    found = read(parameters, recipe__optimizer="adam", model__filters=[8] * 5)
    assert (found.questions, found.tree) == ([], {})


def test_a_seed_that_is_fixed_is_the_same_for_every_trial():
    assert searched({"random_seed": {"value": 42}}) == {"seed": {"value": 42}}
