import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.load import load_experiment


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("data.source", "~nobody_of_that_name/p", "there is no such home folder"),
        ("data.cache", "~nobody_of_that_name/p", "there is no such home folder"),
        ("data.train", "a" * 300, "is too long for a path"),
        ("resources.storage_path", '"a\\0b"', "a zero byte is not allowed"),
        ("recipe.epochs", "true", "epochs is a number, and true is none"),
        ("recipe.batch_size", "010", "'010' would be 8 in YAML"),
        ("recipe.batch_size", "1:30", "'1:30' would be 90 in YAML"),
        ("seed", "0x" + "F" * 6000, "a whole number of more than 64 bits"),
        ("data.split_seed", "0x" + "F" * 16, "less than"),
    ],
)
def test_values_that_would_be_taken_for_others_or_fail_later_are_refused(key, value, problem):
    with pytest.raises(UserError, match=problem) as caught:
        load_experiment(None, settings=[f"{key}={value}"])
    assert len(str(caught.value)) < 600
