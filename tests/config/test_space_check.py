import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.space import search_space
from inat_ray.config.space_check import check_inside


def check(parameters: dict, *, method: str = "random", **others) -> None:
    tree = {"search": {"method": method, "parameters": parameters}, **others}
    experiment = Experiment.model_validate(tree)
    check_inside(experiment, search_space(experiment, where="a.yaml"), where="a.yaml")


PHASES = {
    "recipe.lr": {"min": 0.1, "max": 0.2},
    "recipe.warmup_fraction": {"min": 0.1, "max": 0.6},
    "recipe.decay_fraction": {"min": 0.1, "max": 0.6},
}


def test_settings_that_meet_beyond_their_bounds_are_told_with_a_point_and_the_reason():
    with pytest.raises(UserError) as caught:
        check(PHASES, recipe={"schedule": "warmup_stable_decay"})
    message = str(caught.value)
    assert message.startswith("a.yaml: search.parameters: ")
    assert "of 400 points" in message
    assert "warmup_fraction + decay_fraction must not exceed 1" in message
    assert "recipe.decay_fraction" in message
    assert "recipe.lr" not in message


def test_where_they_never_meet_nothing_is_told():
    check(PHASES, recipe={"schedule": "cosine"})
    check({**PHASES, "recipe.decay_fraction": {"min": 0.1, "max": 0.3999}})


FREEZE = {
    "model.freeze.strategy": {"values": ["none", "freeze_fc"]},
    "model.backbone": {"values": ["resnet18", "resnet50"]},
}


@pytest.mark.parametrize("method", ["random", "grid"])
def test_a_pair_in_a_list_of_values_is_found(method):
    with pytest.raises(UserError, match=r"model.weights 'imagenet1k_v2'.* has imagenet1k_v1 alone"):
        check(
            {**FREEZE, "model.weights": {"values": ["none", "imagenet1k_v2"]}},
            method=method,
            model={"kind": "resnet", "weights": "none"},
        )


def test_a_pair_that_meets_in_one_corner_alone_is_found():
    corner = {
        "recipe.warmup_fraction": {"min": 0.1, "max": 0.5},
        "recipe.decay_fraction": {"min": 0.1, "max": 0.501},
    }
    with pytest.raises(UserError, match=r"warmup_fraction \+ decay_fraction must not exceed 1"):
        check(corner, recipe={"schedule": "warmup_stable_decay"})


def test_a_range_of_image_sizes_is_in_whole_patches_of_a_vit():
    model = {"kind": "pretrained", "backbone": "vit_b_16", "weights": "none"}
    sizes = {"distribution": "int_uniform", "min": 64, "max": 224}
    with pytest.raises(UserError, match=r"points are invalid .* vit_b_16 has patches of 16 pixels"):
        check({"data.image_size": sizes}, model=model)
    check({"data.image_size": {**sizes, "distribution": "q_uniform", "q": 32}}, model=model)


def test_a_first_point_is_resolved_too():
    tree = {
        "model": {"residual_blocks": 1},
        "search": {
            "parameters": {
                "model.residual_blocks": {"values": [1, 0], "probabilities": [1, 0]},
                "model.squeeze_excite": {"value": 4},
            },
            "first": [{"model.residual_blocks": 0, "model.squeeze_excite": 4}],
        },
    }
    experiment = Experiment.model_validate(tree)
    space = search_space(experiment, where="a.yaml")
    with pytest.raises(UserError, match=r"residual_blocks 0, .*squeeze_excite is a part"):
        check_inside(experiment, space, where="a.yaml")
