"""Names are shown so that two that look alike can be told apart."""

import os

import pytest

from inat_ray.data.names import as_text, listed, shown_name


def test_bytes_that_are_not_utf_8_are_kept_as_their_codes() -> None:
    assert as_text(os.fsdecode(b"caf\xe9")) == r"caf\xe9"
    assert as_text("café") == "café"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("oak", "oak"),
        ("white oak", "white oak"),
        ("Eiche, süß", "Eiche, süß"),
        ("caf\u00e9", "caf\u00e9"),
        ("cafe\u0301", "'cafe\\u0301'"),
        ("oak ", "'oak '"),
        (" oak", "' oak'"),
        ("oak\u200b", "'oak\\u200b'"),
        ("oak\nelm", "'oak\\nelm'"),
        ("\x1b[31mred", "'\\x1b[31mred'"),
    ],
)
def test_names_that_look_like_another_are_quoted(name: str, shown: str) -> None:
    assert shown_name(name) == shown


def test_a_long_list_is_cut() -> None:
    assert listed(["a", "b", "c "], most=3) == "a, b, 'c '"
    assert listed(["a", "b", "c"], most=2) == "a, b and 1 more"
