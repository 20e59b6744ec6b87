import pytest
from rich.console import Console

from inat_ray.terminal.tables import parameters_table

PARAMETERS = {"recipe.lr": 0.003, "model.filters": [32, 64], "model.activation": "silu"}


@pytest.mark.parametrize(
    ("width", "titles"), [(80, ["#", "lr", "filters"]), (12, ["#", "parameters"])]
)
def test_parameters_have_a_column_each_if_there_is_room(width, titles):
    table = parameters_table(
        "#",
        rows=[(["1"], PARAMETERS), (["2"], {"recipe.lr": 0.1})],
        names=["recipe.lr", "model.filters"],
        width=width,
        title="best",
    )
    assert [column.header for column in table.columns] == titles
    cells = [list(column.cells) for column in table.columns]
    if width == 80:
        assert cells == [["1", "2"], ["0.003", "0.1"], ["32-64", "-"]]
        assert Console(width=width).measure(table).maximum <= width
    else:
        assert cells == [["1", "2"], ["lr=0.003 filters=32-64 activation=silu", "lr=0.1"]]
