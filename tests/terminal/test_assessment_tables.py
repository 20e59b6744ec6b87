import io

import numpy as np
import pytest
from rich.console import Console

from inat_ray.terminal.assessment_tables import class_table, confusions_table
from inat_ray.training.assessment import assess
from inat_ray.training.predictions import Predictions


@pytest.fixture
def predictions() -> Predictions:
    """Of four classes [a], b, c, d: two b are taken for [a], one [a] for c; of d there is none."""
    said = np.array([0, 0, 2, 0, 0, 1, 2])
    return Predictions(
        paths=[str(row) for row in range(7)],
        classes=["[a]", "b", "c", "d"],
        truths=np.array([0, 0, 0, 1, 1, 1, 2]),
        probabilities=np.eye(4, dtype=np.float32)[said],
    )


def lines_of(table) -> list[str]:
    console = Console(width=80, file=io.StringIO())
    console.print(table)
    return [line.strip() for line in console.file.getvalue().splitlines() if line.strip()]


def test_classes_stand_hardest_first_with_a_dash_for_what_is_undefined(predictions):
    _, header, _, *rows = lines_of(class_table(assess(predictions)))
    assert header.split() == ["class", "images", "precision", "recall", "F1"]
    assert [row.split()[0] for row in rows] == ["b", "[a]", "c", "d"]
    assert rows[0].split() == ["b", "3", "100.0", "%", "33.3", "%", "50.0", "%"]
    assert rows[-1].split() == ["d", "0", "-", "-", "-"]


def test_a_long_table_is_cut_and_says_where_the_rest_is(predictions):
    *_, last = lines_of(class_table(assess(predictions), most=3))
    assert last == "and 1 more in result.json"
    assert "result.json" not in " ".join(lines_of(class_table(assess(predictions), most=4)))


def test_confusions_are_the_most_frequent_pairs(predictions):
    _, _, _, *rows = lines_of(confusions_table(predictions))
    assert [row.split() for row in rows] == [
        ["b", "[a]", "2", "66.7", "%"],
        ["[a]", "c", "1", "33.3", "%"],
    ]
    assert len(lines_of(confusions_table(predictions, most=1))) == len(rows) + 2
