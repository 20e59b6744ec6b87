import os
from pathlib import Path

import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.yaml_reader import MOST_BYTES, MOST_NODES, parse_yaml, read_yaml


def error_of(text: str, **kwargs) -> str:
    with pytest.raises(UserError) as caught:
        parse_yaml(text, where="a.yaml", **kwargs)
    message = str(caught.value)
    assert message.startswith("a.yaml: ")
    assert "\n" not in message
    return message


def test_a_merge_key_takes_over_what_the_mapping_does_not_say():
    text = "a: &a {lr: 1, k: 1}\nb: {<<: *a, lr: 2}\nc: {<<: [{k: 3}, *a]}"
    assert parse_yaml(text, where="") == {
        "a": {"lr": 1, "k": 1},
        "b": {"lr": 2, "k": 1},
        "c": {"k": 3, "lr": 1},
    }


def test_a_merged_mapping_can_be_merged_again_wherever_it_stands():
    """PyYAML writes what is merged into the node itself, before or after it is read."""
    text = "o: {i: &b {<<: &a {x: 0}, x: 1}}\nc: {<<: *b}"
    assert parse_yaml(text, where="") == {"o": {"i": {"x": 1}}, "c": {"x": 1}}


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "c: {a: 1,\n a: 2}", '"a": 1\n\na: 2'])
def test_a_key_that_stands_twice_is_told_with_both_lines(text):
    last = text.count("\n") + 1
    assert f"line {last}, column" in error_of(text)
    assert "duplicate key 'a', first in line 1" in error_of(text)


def test_two_merge_keys_are_a_key_that_stands_twice():
    assert "duplicate key '<<'" in error_of("a: {<<: {x: 1}, <<: {y: 2}}")


LAUGHS = "\n".join(
    ["l0: &l0 [x, x, x, x, x, x, x, x, x]"]
    + [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10)]
)
MERGED = "\n".join(
    ["l0: &l0 {a: 1, b: 2, c: 3}"]
    + [f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 9)}]}}" for n in range(1, 10)]
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LAUGHS, f"more than {MOST_NODES:,} values"),
        (MERGED, f"more than {MOST_NODES:,} values"),
        (f"a: &a '{'x' * 1000}'\nb: [{'*a,' * 1000}]", f"more than {MOST_NODES:,} values"),
        ("\n".join(f"k{n}: 1" for n in range(20_000)), f"more than {MOST_NODES:,} values"),
        ("[" * 100_000, "nested more than 50 deep"),
        ("- " * 100_000, "nested more than 50 deep"),
        ("{a: " * 100_000, "nested more than 50 deep"),
        ("a: &a [*a]", "'*a' holds itself"),
        ("a: &a {<<: *a}", "'*a' holds itself"),
        ("a: *b", "line 1, column 4: found undefined alias"),
        ("\na: !!int x", "line 2, column 4: 'x' is no int"),
        ("a: !!bool x", "'x' is no bool"),
        ("a: !!int ''", "'' is no int"),
        ("a: !!float x", "'x' is no float"),
        (f"a: {'9' * 5000}", "is no int"),
        ("a: !!timestamp 2001-99-99", "timestamp"),
        ("a: !!binary aGk=", "binary"),
        ("a: !!set {x}", "tag:yaml.org,2002:set"),
        ("a: !!python/object/apply:os.system [ls]", "python/object"),
        ("a: !mine 1", "'!mine'"),
        ("a: {1: 2}", "key '1' is no text"),
        ("? [a]\n: 1", "unhashable key"),
        ("a: 1\n---\nb: 2", "another document"),
        ("a: b: c", "line 1, column 5"),
        ("a: \0", "not allowed"),
        ("a: \udcff", "is no UTF-8 text"),
    ],
)
def test_what_no_experiment_needs_is_refused_in_a_sentence(text, problem):
    message = error_of(text)
    assert problem in message
    assert len(message) < 400


def test_a_date_is_text():
    assert parse_yaml("[2001-01-01, 2001-99-99]", where="") == ["2001-01-01", "2001-99-99"]


def test_of_a_file_that_may_be_secret_nothing_is_shown():
    for text in ("a: *hunter2", "hunter2: 1\nhunter2: 2", "a: !!int hunter2", "a: !hunter2 x"):
        assert "hunter2" in error_of(text) or "alias" in error_of(text)
        assert "hunter2" not in error_of(text, secret=True)
        assert "line" in error_of(text, secret=True)


def test_only_a_regular_file_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(UserError, match=f"{path}: is not a regular file"):
            read_yaml(path)


def test_a_large_file_is_not_read(tmp_path):
    path = tmp_path / "a.yaml"
    with path.open("w") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(UserError, match="larger than 1,048,576 bytes"):
        read_yaml(path)
