from pathlib import Path

import jsonschema
import pytest
import yaml

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.config.schema import experiment_schema, text
from inat_ray.config.shipped import SCHEMA
from inat_ray.config.space import search_space

EXPERIMENTS = Path(__file__).parents[2] / "experiments"

FILES = sorted(EXPERIMENTS.glob("*.yaml"))

VALIDATOR = jsonschema.Draft7Validator(experiment_schema())


def accepts(tree: object) -> bool:
    return VALIDATOR.is_valid(tree)


def test_the_schema_is_one():
    jsonschema.Draft7Validator.check_schema(experiment_schema())


def test_the_file_beside_the_experiments_is_what_the_settings_give():
    made = SCHEMA.read_text(encoding="utf-8")
    assert made == text(), "run `make schema`"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_experiment_names_the_schema_in_its_first_line_and_holds_to_it(path):
    first, *_ = path.read_text(encoding="utf-8").splitlines()
    place = first.removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / place).resolve() == SCHEMA.resolve()
    VALIDATOR.validate(yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("kind", ["cnn", "resnet"])
def test_an_experiment_as_a_run_keeps_it_is_accepted(kind):
    resolved = Experiment.model_validate({"model": {"kind": kind}}).model_dump(mode="json")
    VALIDATOR.validate(resolved)


@pytest.mark.parametrize(
    "tree",
    [
        {"recipee": {}},
        {"recipe": {"learning_rate": 0.1}},
        {"recipe": {"lr": 11}},
        {"recipe": {"lr": True}},
        {"recipe": {"augmentation": {"cut_mix": 1}}},
        {"model": {"kind": "vit"}},
        {"model": {"kind": "cnn", "backbone": "resnet50"}},
        {"model": {"kind": "resnet", "freeze": {"strategy": "half"}}},
        {"data": {"image_size": 16}},
        {"search": {"metric": {"name": "accuracy"}}},
        {"search": {"time": "8 hours"}},
        {"search": {"parameters": {"recipe.rate": {"values": [1]}}}},
        {"search": {"parameters": {"data.pack_size": {"values": [32, 64]}}}},
        {"search": {"parameters": {"model.kind": {"values": ["cnn", "vit"]}}}},
        {"search": {"parameters": {"recipe.lr": {"values": []}}}},
        {"search": {"parameters": {"recipe.lr": {"values": [0.1, 11]}}}},
        {"search": {"parameters": {"recipe.lr": {"min": 0.1}}}},
        {"search": {"parameters": {"recipe.lr": {"min": 0.1, "max": 0.2, "q": 0.1}}}},
        {"search": {"parameters": {"recipe.lr": {"distribution": "loguniform"}}}},
        {"search": {"parameters": {"recipe.optimizer": {"min": 1, "max": 2}}}},
        {"search": {"parameters": {"seed": {"values": [1], "when": {"recipe.rate": 1}}}}},
        {"search": {"first": [{"recipe.rate": 0.1}]}},
        {"model": {"kind": "module", "target": "net.py"}},
        {"search": {"parameters": {"model.sha256": {"value": None}}}},
        {"search": {"parameters": {"recipe.keep": {"values": ["best", "last"]}}}},
        {"tracking": {"to": ["comet"]}},
    ],
    ids=str,
)
def test_what_the_schema_refuses_is_refused_by_the_commands_too(tree, tmp_path):
    assert not accepts(tree)
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    with pytest.raises(UserError):
        search_space(load_experiment(path))


@pytest.mark.parametrize(
    "parameters",
    [
        {"recipe.lr": {"value": 0.1}},
        {"recipe.lr": {"min": 0.1, "max": 0.2}},
        {"recipe.lr": {"distribution": "q_log_uniform_values", "min": 0.1, "max": 0.4, "q": 0.1}},
        {"recipe.weight_decay": {"distribution": "normal", "mu": 0.1, "sigma": 0.01, "min": 0.0}},
        {"recipe.epochs": {"distribution": "int_uniform", "min": 2, "max": 4}},
        {"recipe.optimizer": {"values": ["sgd", "muon"], "probabilities": [0.25, 0.75]}},
        {"model.filters": {"values": [[8, 8, 8, 8, 8], [16, 16, 16, 16, 16]]}},
        {"model": {"values": [{"kind": "cnn"}, {"kind": "resnet", "weights": "none"}]}},
        {
            "recipe.optimizer": {"values": ["adam", "sgd"]},
            "recipe.momentum": {"min": 0.5, "max": 0.9, "when": {"recipe.optimizer": ["sgd"]}},
        },
    ],
    ids=str,
)
def test_what_a_search_space_may_hold_is_accepted_by_both(parameters, tmp_path):
    tree = {"search": {"time": "8h", "parameters": parameters}}
    VALIDATOR.validate(tree)
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    assert list(search_space(load_experiment(path)).parameters) == list(parameters)


def test_every_argument_of_a_network_of_ones_own_may_be_searched_and_have_conditions(tmp_path):
    parameters = {
        "model.args.depth": {"distribution": "int_uniform", "min": 1, "max": 4},
        "model.args.widths": {"values": [[8, 16], [16, 32]], "when": {"model.args.depth": [1, 2]}},
        "model.args.drop": {"min": 0.0, "max": 0.5, "when": {"model.args.depth": 3}},
    }
    tree = {
        "model": {"kind": "module", "target": "net.py:Net"},
        "search": {"parameters": parameters, "first": [{"model.args.depth": 3}]},
    }
    VALIDATOR.validate(tree)
    tree["search"].pop("first")
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    space = search_space(load_experiment(path))
    assert list(space.parameters) == list(parameters)
    assert space.conditions["model.args.drop"] == {"model.args.depth": (3,)}


def test_a_file_may_remove_what_it_inherits_and_leave_out_the_kind_of_its_model():
    VALIDATOR.validate(
        {
            "extends": "resnet50_freeze.yaml",
            "model": {"freeze": {"strategy": "head_only"}},
            "search": {"parameters": {"model.freeze": None}, "confirm": None},
        }
    )


def test_every_setting_says_what_it_is():
    schema = experiment_schema()
    silent = [
        f"{name}.{key}"
        for name, part in schema["$defs"].items()
        for key, setting in part.get("properties", {}).items()
        if not {"description", "$ref"} & setting.keys()
    ]
    assert silent == []
