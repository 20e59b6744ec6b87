from pathlib import Path

import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.load import dump_experiment, load_experiment

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))


@pytest.fixture
def write(tmp_path):
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def error_of(path, **kwargs) -> str:
    with pytest.raises(UserError) as caught:
        load_experiment(path, **kwargs)
    return str(caught.value)


def test_without_a_file_everything_is_at_its_default():
    assert load_experiment(None).data.source == "demo"


def test_a_resolved_experiment_reads_back_as_itself(write):
    experiment = load_experiment(write("a.yaml", "recipe: {lr: 1e-3, epochs: 3}"))
    assert load_experiment(write("b.yaml", dump_experiment(experiment))) == experiment


def test_an_exponent_without_a_dot_is_a_number(write):
    assert load_experiment(write("a.yaml", "recipe: {lr: 1e-3}")).recipe.lr == 1e-3


def test_an_heir_changes_only_what_it_says(write):
    write("base.yaml", "recipe: {lr: 0.1, epochs: 3}\nmodel: {dense: 64}")
    heir = load_experiment(write("heir.yaml", "extends: base.yaml\nrecipe: {lr: 0.2}"))
    assert (heir.recipe.lr, heir.recipe.epochs, heir.model.dense) == (0.2, 3, 64)


def test_an_heir_replaces_a_search_parameter_as_a_whole(write):
    write("base.yaml", "search: {parameters: {recipe.lr: {min: 0.1, max: 0.2}}}")
    text = "extends: base.yaml\nsearch: {parameters: {recipe.lr: {values: [0.3]}}}"
    heir = load_experiment(write("heir.yaml", text))
    assert heir.search.parameters == {"recipe.lr": {"values": [0.3]}}


def test_an_heir_drops_a_search_parameter_with_null(write):
    write("base.yaml", "search: {parameters: {recipe.lr: {min: 0.1, max: 0.2}}}")
    heir = write("heir.yaml", "extends: base.yaml\nsearch: {parameters: {recipe.lr: null}}")
    assert load_experiment(heir).search.parameters == {}


def test_a_circle_of_heirs_is_named(write):
    write("a.yaml", "extends: b.yaml")
    assert "extends itself" in error_of(write("b.yaml", "extends: a.yaml"))


def test_a_setting_wins_over_the_file_and_an_option_over_the_setting(write):
    path = write("a.yaml", "recipe: {lr: 0.1}\nseed: 1")
    experiment = load_experiment(
        path, settings=["recipe.lr=0.2", "seed=2"], options={"seed": ("--seed", 3)}
    )
    assert (experiment.recipe.lr, experiment.seed) == (0.2, 3)


def test_a_setting_takes_yaml():
    experiment = load_experiment(None, settings=["model.filters=[1, 2, 3, 4, 5]"])
    assert experiment.model.filters == [1, 2, 3, 4, 5]


def test_a_setting_reaches_a_search_parameter_by_its_dotted_name():
    experiment = load_experiment(None, settings=["search.parameters.recipe.lr={values: [0.1]}"])
    assert experiment.search.parameters == {"recipe.lr": {"values": [0.1]}}


@pytest.mark.parametrize("setting", ["recipe.epochs=abc", "recipe.batch_size=64.5", "model=3"])
def test_a_setting_of_the_wrong_type_names_the_option(setting):
    message = error_of(None, settings=[setting])
    assert message.startswith(f"--set: {setting.split('=', maxsplit=1)[0]}")


def test_a_setting_without_a_value_says_how_one_is_written():
    assert "KEY=VALUE" in error_of(None, settings=["recipe.lr"])


def test_a_key_that_stands_twice_is_an_error_with_its_line(write):
    message = error_of(write("a.yaml", "recipe:\n  lr: 1\n  lr: 2"))
    assert "duplicate key 'lr'" in message
    assert "line 2" in message


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2", "5"])
def test_what_is_no_mapping_of_settings_is_an_error_that_names_the_file(write, text):
    path = write("a.yaml", text)
    assert error_of(path).startswith(str(path))


def test_a_missing_file_is_named(tmp_path):
    assert "no such experiment file" in error_of(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model: {filters: [1, 2, 3]}", "at least 5"),
        ("model: {kernel_sizes: [2, 3, 3, 3, 3]}", "odd"),
        ("data: {image_size: 31}", "32"),
        ("data: {image_size: 64, pack_size: 48}", "below image_size"),
        ("search: {metric: {name: val_loss, goal: maximize}}", "minimize"),
        ("name: ../escape", "name"),
    ],
)
def test_what_cannot_work_is_refused_with_its_reason(write, text, reason):
    assert reason in error_of(write("a.yaml", text))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_the_projects_own_experiments_are_valid(path):
    assert load_experiment(path).name == path.stem


def test_a_setting_drops_a_search_parameter_with_null(write):
    path = write("a.yaml", "search: {parameters: {recipe.lr: {min: 0.1, max: 0.2}}}")
    assert not load_experiment(path, settings=["search.parameters.recipe.lr="]).search.parameters


def test_a_long_chain_of_heirs_is_refused(write):
    for number in range(20):
        write(f"{number}.yaml", f"extends: {number + 1}.yaml")
    assert "more than 16 files in a row" in error_of(write("20.yaml", "extends: 0.yaml"))


@pytest.mark.parametrize(
    "content", ["apiVersion: v1\nname: hunter2\n", "token: hunter2", "hunter2", "a: !hunter2 x"]
)
def test_what_is_extended_and_no_experiment_is_not_shown(write, content):
    other = write("other", content)
    message = error_of(write("a.yaml", "extends: other"))
    assert message.startswith(f"{other}: ")
    assert "hunter2" not in message


def test_a_misspelt_key_of_what_is_extended_is_told_with_the_right_one(write):
    write("base.yaml", "recipee: {lr: 1}")
    assert "did you mean 'recipe'" in error_of(write("a.yaml", "extends: base.yaml"))


def test_relative_folders_of_the_data_are_those_of_where_the_experiment_was_loaded(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    data = load_experiment(None, settings=["data.source=photos", "data.cache=cache"]).data
    assert (data.source, data.cache) == (f"{tmp_path}/photos", f"{tmp_path}/cache")
    assert load_experiment(None).data.source == "demo"
    assert load_experiment(None).data.cache == "~/.cache/inat_ray"


def test_weights_in_files_are_those_of_where_the_experiment_was_loaded(
    write, tmp_path, monkeypatch
):
    write("w.pth", "")
    monkeypatch.chdir(tmp_path)
    path = write(
        "a.yaml",
        """
model: {kind: resnet, weights: w.pth}
search: {parameters: {model.weights: {values: [none, w.pth, gone.pth, imagenet1k_v2]}}}
""",
    )
    there = str(tmp_path / "w.pth")
    experiment = load_experiment(path)
    assert experiment.model.weights == there
    values = experiment.search.parameters["model.weights"]["values"]
    assert values == ["none", there, "gone.pth", "imagenet1k_v2"]
    long = write("b.yaml", f"model: {{kind: resnet, weights: {'w' * 5000}.pth}}")
    assert "is too long for a path" in error_of(long)
