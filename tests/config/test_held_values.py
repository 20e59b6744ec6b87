import json

import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.held_values import as_written, tried


@pytest.mark.parametrize(
    ("name", "values", "held"),
    [
        ("recipe.batch_size", ["16", 32.0], [16, 32]),
        ("model.batch_norm", ["true", 0], [True, False]),
        ("recipe.lr", ["1e-3", 1], [0.001, 1]),
        ("model.filters", [["8"] * 5, [4.0] * 5], [[8] * 5, [4] * 5]),
        ("recipe.augmentation", [{"flip": "no", "erase": 0}], [{"flip": False, "erase": 0}]),
        ("recipe.gradient_clip", [None, "1"], [None, 1.0]),
    ],
)
def test_values_are_of_their_settings_type(name, values, held):
    assert json.dumps([written(name, value) for value in values]) == json.dumps(held)


def written(name: str, value) -> object:
    held = tried(Experiment(), name, value, met={})
    return as_written(held, value)


def test_a_fault_elsewhere_names_the_value_that_was_tried():
    with pytest.raises(UserError, match=r"^4: model: squeeze_excite is a part"):
        tried(Experiment(), "model.squeeze_excite", 4, met={})
