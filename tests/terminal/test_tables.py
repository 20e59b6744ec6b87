import io

import pytest
from rich.console import Console

from inat_ray.terminal.tables import parameter_columns, parameters_table

PARAMETERS = {"lr": ["0.1", "0.2"], "kernel_sizes": ["[3]", "5-5"], "dropout": ["0.5", "-"]}


@pytest.mark.parametrize(
    ("width", "titles", "missing"),
    [
        (38, ["#", "lr", "kernel_sizes", "dropout", "ms"], ""),
        (33, ["#", "lr", "kernel_sizes", "dropout"], ""),
        (31, ["#", "lr", "kernel_sizes", "ms"], "also searched: dropout"),
        (22, ["#", "lr", "dropout", "ms"], "also searched: kernel_sizes"),
        (4, ["#"], "also searched: lr, kernel_sizes, dropout"),
    ],
)
def test_as_many_parameters_as_fit_have_a_column_and_the_rest_is_named(width, titles, missing):
    """What is too wide makes room for the next one; other columns take what is left."""
    table = parameters_table(
        {"#": ["1", "2"]},
        parameters=PARAMETERS,
        more={"ms": ["5", "6"]},
        width=width,
        title="a",
    )
    assert [column.header for column in table.columns] == titles
    assert (table.caption or "") == missing
    table.caption = None
    console = Console(width=200, file=io.StringIO())
    console.print(table)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert lines[4].split()[:3] == ["1", "0.1", "[3]"][: len(titles)] or width == 22


def test_a_parameter_that_a_point_does_not_have_is_a_dash():
    points = [{"recipe.lr": 0.003, "model.filters": [32, 64]}, {"recipe.lr": 0.1}]
    columns = parameter_columns(points, ["recipe.lr", "model.filters"])
    assert columns == {"lr": ["0.003", "0.1"], "filters": ["32-64", "-"]}
