import pytest

from inat_ray.config.wandb.names import SETTINGS
from inat_ray.config.wandb.values import five, number


@pytest.mark.parametrize(
    ("value", "if_frozen", "if_unfrozen"),
    [
        (True, "head_only", "none"),
        ("no", "none", "head_only"),
        ("all", "head_only", "none"),
        ("none", "none", "head_only"),
        ("full", "none", "none"),
        ("feature-extraction", "head_only", "head_only"),
        ("gradual", "gradual", "gradual"),
    ],
)
def test_to_freeze_and_to_unfreeze_are_opposites(value, if_frozen, if_unfrozen):
    assert SETTINGS["freeze"].kind.read(value)["strategy"] == if_frozen
    assert SETTINGS["unfreeze"].kind.read(value)["strategy"] == if_unfrozen


def test_a_number_of_unfrozen_layers_says_no_way():
    with pytest.raises(KeyError):
        SETTINGS["unfreeze"].kind.read(3)


def test_one_number_stands_for_all_blocks_and_a_list_for_each():
    assert five("16") == [16] * 5
    assert five("[1, 2, 3, 4, 5]") == [1, 2, 3, 4, 5]
    for value in ([1, 2], 2.5, "many"):
        with pytest.raises(ValueError):  # noqa: PT011
            five(value)


def test_a_number_may_be_in_quotes_and_must_be_finite():
    assert (number("1e-4"), number("8"), number(None)) == (1e-4, 8, None)
    for value in ("x", True, "inf"):
        with pytest.raises(ValueError, match="no number"):
            number(value)
