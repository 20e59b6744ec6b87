import io
import json

from rich.console import Console

from inat_ray.run.listing import find_runs, read_run
from inat_ray.terminal.runs_table import (
    compared_settings,
    comparison_table,
    run_row,
    runs_table,
)
from tests.run.made_up_runs import cut_off_run, finished_run


def text_of(table) -> str:
    console = Console(width=80, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


def test_every_run_has_a_row_in_80_columns(tmp_path):
    finished_run(tmp_path / "[bold]odd", time=1_800_000_000.0)
    cut_off_run(tmp_path / "b")
    text = text_of(runs_table(find_runs(tmp_path), folder=tmp_path))
    first, second = text.splitlines()[3:5]
    assert first.split()[:6] == ["[bold]odd", "finished", "2", "70.0", "%", "60.0"]
    assert second.split()[:4] == ["b", "cut", "off", "2"]
    assert "random  2027-01-15" in first
    assert "…" not in text


def test_a_long_name_takes_the_room_of_what_can_be_spared(tmp_path):
    name = "cnn_bayes-20270115-080000-again"
    cut_off_run(tmp_path / name)
    lines = text_of(runs_table(find_runs(tmp_path), folder=tmp_path)).splitlines()
    assert lines[1].split() == ["run", "state", "trials", "best", "test", "size"]
    assert lines[3].split()[0] == name


def test_a_row_can_be_written_as_json_whatever_is_missing(tmp_path):
    (tmp_path / "experiment.yaml").write_text("{}")
    row = json.loads(json.dumps(run_row(read_run(tmp_path))))
    assert (row["state"], row["best"], row["begun"] > 0) == ("cut off", None, True)
    assert row["macs"] is None
    assert run_row(read_run(finished_run(tmp_path / "b")))["ms_per_image"] == 10.0


def test_a_comparison_has_the_settings_that_differ_and_no_others(tmp_path):
    lr = {"recipe.lr": {"values": [0.1, 0.2]}}
    trees = [
        {"recipe": {"epochs": 3}, "search": {"parameters": lr}},
        {"recipe": {"epochs": 5}, "device": "cpu", "data": {"cache": "/elsewhere"}},
    ]
    runs = [read_run(finished_run(tmp_path / str(n), **tree)) for n, tree in enumerate(trees)]
    assert compared_settings(runs) == {
        "recipe.epochs": [3, 5],
        "search.parameters.recipe.lr": [{"values": [0.1, 0.2]}, None],
    }
    text = text_of(comparison_table(runs))
    assert "0.1, 0.2" in text
    assert text.count("70.0 %") == 2
    assert [line.split()[1:] for line in text.splitlines() if "ms/image" in line] == [["10", "10"]]


def test_a_damaged_run_stands_in_a_comparison_with_what_is_known(tmp_path):
    runs = [
        read_run(finished_run(tmp_path / name, recipe={"epochs": n}))
        for n, name in enumerate("ab", start=1)
    ]
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "experiment.yaml").write_text("name: [")
    runs.append(read_run(tmp_path / "c"))
    assert compared_settings(runs) == {"recipe.epochs": [1, 2, None]}
    assert "damaged" in text_of(comparison_table(runs))
