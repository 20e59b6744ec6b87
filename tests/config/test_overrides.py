import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.load import load_experiment
from inat_ray.config.overrides import fix_parameters
from inat_ray.config.yaml_reader import parse_yaml

SEARCH = """
search:
  method: grid
  parameters:
    recipe.optimizer: {values: [adamw, sgd, muon]}
    recipe.momentum: {values: [0.8, 0.9], when: {recipe.optimizer: [sgd, muon]}}
    recipe.lr: {values: [0.1, 0.2], when: {recipe.momentum: 0.9}}
    model.freeze: {values: [{strategy: none}, {strategy: head_only}]}
    seed: {values: [0, 1]}
  first: [{recipe.optimizer: sgd, recipe.momentum: 0.9}]
"""


@pytest.fixture
def loaded(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(SEARCH)

    def loaded(*settings, **options):
        told: list[str] = []
        experiment = load_experiment(path, settings=settings, options=options, tell=told.append)
        return experiment, told

    return loaded


def test_a_setting_fixes_its_parameter_and_says_so(loaded):
    experiment, told = loaded("recipe.momentum=0.9")
    assert told == ["recipe.momentum: fixed at 0.9, no longer searched"]
    assert experiment.recipe.momentum == 0.9
    assert "recipe.momentum" not in experiment.search.parameters
    assert experiment.search.first == [{"recipe.optimizer": "sgd"}]


def test_a_part_of_a_parameter_is_changed_alone(loaded):
    experiment, told = loaded("search.parameters.recipe.momentum.values=[0.5]")
    before, _ = loaded()
    when = before.search.parameters["recipe.momentum"].get("when")
    assert experiment.search.parameters["recipe.momentum"] == {"values": [0.5], "when": when}
    assert (told, list(experiment.search.parameters)) == ([], list(before.search.parameters))


def test_a_condition_on_a_fixed_parameter_is_met_or_not(loaded):
    experiment, told = loaded("recipe.optimizer=muon")
    assert experiment.search.parameters["recipe.momentum"] == {"values": [0.8, 0.9]}
    experiment, told = loaded("recipe.optimizer=adamw")
    assert told == [
        "recipe.optimizer: fixed at adamw, no longer searched",
        "recipe.momentum: no longer searched: it has a condition on recipe.optimizer",
        "recipe.lr: no longer searched: it has a condition on recipe.momentum",
    ]
    assert list(experiment.search.parameters) == ["model.freeze", "seed"]


def test_a_mapping_fixes_the_parameters_in_it(loaded):
    experiment, told = loaded("recipe={optimizer: sgd, momentum: 0.7}")
    assert [line.split(":")[0] for line in told] == [
        "recipe.optimizer",
        "recipe.momentum",
        "recipe.lr",
    ]
    assert experiment.recipe.momentum == 0.7


def test_a_fixed_seed_is_that_of_every_trial(loaded):
    for experiment, told in (loaded("seed=7"), loaded(seed=("--seed", 7))):
        assert told == ["seed: fixed at 7, no longer searched"]
        assert experiment.search.parameters["seed"] == {"value": 7}


def test_a_part_of_what_is_searched_as_a_whole_is_refused(loaded):
    with pytest.raises(UserError, match=r"--set model.freeze.strategy: is a part of model.freeze"):
        loaded("model.freeze.strategy=first_k")


def test_a_parameter_that_is_given_after_its_setting_is_searched(loaded):
    experiment, _ = loaded("recipe.lr=0.1", "search.parameters.recipe.lr={values: [1, 2]}")
    assert experiment.search.parameters["recipe.lr"] == {"values": [1, 2]}


@pytest.mark.parametrize("value", ["'0.9'", "0.90", '"0.9"'])
def test_a_condition_is_met_by_the_value_however_it_is_written(loaded, value):
    experiment, _ = loaded("recipe.optimizer=sgd", f"recipe.momentum={value}")
    assert experiment.search.parameters["recipe.lr"] == {"values": [0.1, 0.2]}


@pytest.mark.parametrize(
    ("written", "given", "is_met"),
    [
        ("0", "0.0", True),
        ("0.0", "'0'", True),
        ("0.001", "'1e-3'", True),
        ("true", "'True'", True),
        ("true", "1", False),
        ("[relu]", "'relu'", True),
        ("[relu]", "gelu", False),
    ],
)
def test_a_condition_compares_what_a_setting_would_read(written, given, is_met):
    when = {"model.dropout": parse_yaml(written, where="test")}
    tree = {"search": {"parameters": {"model.dropout": {}, "recipe.lr": {"when": when}}}}
    fix_parameters(tree, "model.dropout", parse_yaml(given, where="test"), option="--set")
    assert ("recipe.lr" in tree["search"]["parameters"]) == is_met


KINDS = """
model: {dense: 8, dropout: 0.3}
search:
  parameters:
    model.kind: {values: [cnn, pretrained]}
    model.dense: {values: [8, 16], when: {model.kind: cnn}}
    model.backbone: {values: [resnet18, resnet50], when: {model.kind: pretrained}}
"""


def test_a_kind_of_model_that_is_given_takes_over_nothing_from_the_files(tmp_path):
    path, told = tmp_path / "a.yaml", []
    path.write_text(KINDS)
    given = ["model.weights=none", "model.kind=pretrained"]
    experiment = load_experiment(path, settings=given, tell=told.append)
    assert (experiment.model.weights, experiment.model.dropout) == ("none", 0.0)
    assert experiment.search.parameters == {"model.backbone": {"values": ["resnet18", "resnet50"]}}
    assert [line.partition(":")[0] for line in told] == ["model.kind", "model.dense"]


@pytest.mark.parametrize(
    "given", [["model.kind=cnn"], ["model={dense: 8, dropout: 0.3}", "model.kind=cnn"]]
)
def test_the_same_kind_keeps_what_the_file_has(tmp_path, given):
    (tmp_path / "a.yaml").write_text(KINDS)
    model = load_experiment(tmp_path / "a.yaml", settings=given).model
    assert (model.dense, model.dropout) == (8, 0.3)
