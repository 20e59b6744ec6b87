import io

import pytest
from rich.console import Console

from inat_ray.terminal.leaderboard import (
    counted,
    counts_text,
    leaderboard_table,
    parameters_text,
    result_table,
    short_names,
    value_text,
)


def lines_of(table, *, width: int = 80) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


def test_the_leaderboard_ranks_trials_and_gives_each_parameter_a_column(sweep, history_of):
    lines = lines_of(leaderboard_table(history_of(sweep)))
    start = next(number for number, line in enumerate(lines) if line.startswith(" # "))
    assert lines[start].split()[-3:] == ["lr", "batch_norm", "filters"]
    assert lines[start + 2].split() == (
        ["1", "trial_0000", "90.0", "%", "3/3", "finished", "0.003", "true", "32-64"]
    )
    assert [line.split()[1] for line in lines[start + 2 : start + 7]] == [
        "trial_0000",
        "trial_0005",
        "trial_0004",
        "trial_0001",
        "trial_0002",
    ]
    assert lines[-1] == "and 1 more in trials.parquet"


def test_parameters_that_do_not_fit_side_by_side_share_a_column(sweep, history_of):
    table = leaderboard_table(history_of(sweep), width=60)
    lines = lines_of(table, width=60)
    assert max(map(len, lines)) <= 60
    assert any(line.endswith("parameters") for line in lines)
    assert "lr=0.003" in "".join(lines)


def test_long_leaderboards_are_cut_and_say_so(sweep, history_of):
    lines = lines_of(leaderboard_table(history_of(sweep), most=2))
    assert sum("trial_" in line for line in lines) == 2
    assert lines[-1] == "and 4 more in trials.parquet"


def test_a_search_by_loss_has_a_column_for_it(sweep, history_of):
    run = sweep[0].model_copy(update={"metric": "val_loss", "goal": "minimize"})
    (header,) = (
        line for line in lines_of(leaderboard_table(history_of([run, *sweep[1:]]))) if "#" in line
    )
    assert "val loss" in header
    assert "val acc" in header


def test_a_leaderboard_without_results_is_a_table_without_rows(sweep, history_of):
    assert leaderboard_table(history_of(sweep[:1])).row_count == 0


def test_names_are_shortened_where_that_stays_unambiguous():
    assert short_names(["recipe.lr", "model.dropout", "recipe.dropout"]) == {
        "recipe.lr": "lr",
        "model.dropout": "model.dropout",
        "recipe.dropout": "recipe.dropout",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([32, 64, 128], "32-64-128"),
        (0.00423194, "0.00423"),
        (64, "64"),
        (True, "true"),
        (None, "null"),
        ("mish", "mish"),
        ({"strategy": "head_only"}, "head_only"),
        ({"strategy": "fraction", "fraction": 0.3}, "fraction 0.3"),
    ],
)
def test_values_are_short(value, text):
    assert value_text(value) == text


def test_parameters_are_one_line():
    assert parameters_text({"recipe.lr": 0.1, "model.filters": [8, 16]}) == "lr=0.1 filters=8-16"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 epochs"), (1, "1 epoch"), (1_234, "1,234 epochs")]
)
def test_one_is_no_plural(count, text):
    assert counted(count, "epoch") == text


def test_states_are_counted_in_a_fixed_order():
    assert counts_text({"running": 2, "stopped": 1, "finished": 3}) == (
        "3 finished, 1 stopped, 2 running"
    )


def test_a_result_is_shown_with_the_searchs_part_and_without_other_nested_ones():
    result = {
        "name": "a",
        "val_accuracy": 0.91234,
        "seconds": 1234.56,
        "macs": 3704064,
        "data": {"classes": ["x"]},
        "search": {
            "winner": "trial_0001",
            "parameters": {"recipe.lr": 0.1},
            "val_accuracy": 0.93,
            "trials": {"stopped": 1, "finished": 3},
            "epochs_saved": 13,
            "study": [{"parameters": {"recipe.lr": 0.1}, "n": 3, "mean": 0.9, "sd": 0.01}],
        },
        "test_accuracy": 0.9,
        "test_accuracy_interval": [0.8512, 0.93],
        "test_ece": 0.051,
        "test_classes": {"x": {"precision": None}},
    }
    cells = [
        tuple(part.strip() for part in line.split("  ") if part.strip())
        for line in lines_of(result_table(result))[1:]
    ]
    assert cells == [
        ("name", "a"),
        ("kept model: val_accuracy", "91.2 %"),
        ("seconds", "1,234.6"),
        ("macs", "3,704,064"),
        ("search: winner", "trial_0001"),
        ("search: parameters", "lr=0.1"),
        ("best trial: val_accuracy", "93.0 %"),
        ("search: trials", "3 finished, 1 stopped"),
        ("search: epochs_saved", "13"),
        ("test_accuracy", "90.0 %"),
        ("test_accuracy_interval", "85.1 to 93.0 %"),
        ("test_ece", "5.1 %"),
    ]
