import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.load import load_experiment


@pytest.fixture
def write(tmp_path):
    def write(name: str, text: str):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def error_of(path) -> str:
    with pytest.raises(UserError) as caught:
        load_experiment(path)
    return str(caught.value)


def test_a_value_out_of_range_is_told_with_file_key_value_and_bound(write):
    path = write("a.yaml", "recipe: {lr: -1}")
    assert error_of(path) == f"{path}: recipe.lr: -1: should be greater than 0"


def test_a_misspelt_key_is_told_with_the_right_one(write):
    message = error_of(write("a.yaml", "recipe: {leraning_rate: 1, epohcs: 2}"))
    assert "recipe.epohcs" in message
    assert "did you mean 'epochs'" in message


def test_the_file_that_holds_the_fault_is_named_not_its_heir(write):
    base = write("base.yaml", "recipe: {lr: -1}")
    assert str(base) in error_of(write("heir.yaml", "extends: base.yaml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recipe:", "recipe: is empty; should be a mapping of settings, or leave it out"),
        ("model:", "model: is empty; should be a mapping of settings, or leave it out"),
        ("search: {parameters: }", "search.parameters: is empty; should be a mapping of settings"),
        ("recipe: {lr: }", "recipe.lr: is empty; should be a valid number"),
        ("recipe: 3", "recipe: 3: should be a mapping of settings"),
        ("model: 3", "model: 3: should be a mapping of settings"),
        ("recipe: {lr: {min: 0, max: 1}}", "recipe.lr: a mapping: should be a valid number; a"),
        ("recipe: {gradient_clip: .inf}", "recipe.gradient_clip: inf: should be a finite number"),
    ],
)
def test_a_message_speaks_of_what_was_written(write, text, message):
    path = write("a.yaml", text)
    assert error_of(path).startswith(f"{path}: {message}")


def test_of_many_faults_the_first_are_told(write):
    path = write("a.yaml", "\n".join(f"k{n}: {'x' * 10}" for n in range(1000)))
    assert len(error_of(path).splitlines()) == 11
    assert "and 990 more" in error_of(path)


def test_a_long_value_is_not_told_whole(write):
    assert len(error_of(write("a.yaml", f"name: '{'? ' * 10_000}'"))) < 600
    assert len(error_of(write("b.yaml", f"{'x' * 900}: 1"))) < 1000


def test_what_is_about_several_parts_has_no_empty_key(write):
    path = write("a.yaml", "device: cuda\nresources: {gpus_per_worker: 0}")
    assert error_of(path).startswith("experiment: device is cuda")


def test_the_option_is_named_that_replaced_what_the_file_has(write):
    path = write("a.yaml", "recipe: {lr: 0.1}")
    with pytest.raises(UserError, match=r"^--set: recipe\.lr: -1: should be greater than 0$"):
        load_experiment(path, settings=["recipe={lr: -1}"])
