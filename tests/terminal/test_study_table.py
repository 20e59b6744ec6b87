import io

import pytest
from rich.console import Console

from inat_ray.terminal.study_table import study_table

STUDY = {"head_only": [0.80, 0.82], "none": [0.90, 0.94], "freeze_fc": [0.99]}


def lines_of(table, *, width: int = 80) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


def caption_of(table) -> str:
    return str(table.caption or "")


def test_a_configuration_is_a_row_with_the_mean_and_spread_of_its_seeds(study, history_of):
    lines = lines_of(study_table(history_of(study(STUDY))))
    header, _, *rows = lines[1:]
    assert header.split() == [
        *("#", "n", "val", "acc,", "mean", "±", "sd", "s/epoch", "freeze", "lr")
    ]
    assert [row.split() for row in rows] == [
        ["1", "2", "92.0", "±", "2.8", "%", "2.00", "none", "0.003"],
        ["2", "2", "81.0", "±", "1.4", "%", "2.00", "head_only", "0.003"],
        ["-", "1", "99.0", "%", "2.00", "freeze_fc", "0.003"],
    ]


def test_a_loss_is_no_percentage(study, history_of):
    records = study(
        {"none": [0.1, 0.2], "head_only": [0.0, 0.0]}, metric="val_loss", goal="minimize"
    )
    text = "\n".join(lines_of(study_table(history_of(records))))
    assert "val loss, mean ± sd" in text
    assert "0.850 ± 0.071" in text


def test_parameters_that_do_not_fit_side_by_side_share_a_column(study, history_of):
    lines = lines_of(study_table(history_of(study(STUDY)), width=50), width=50)
    assert max(map(len, lines)) <= 50
    assert any(line.endswith("parameters") for line in lines)
    assert "freeze=none" in "".join(lines)


def test_the_trained_parameters_are_those_of_the_first_trial(study, history_of):
    trainable = {f"trial_{number:04d}": 1000 * number + 5 for number in range(5)}
    lines = lines_of(study_table(history_of(study(STUDY)), trainable=trainable))
    assert "trained" in lines[1]
    assert "2,005" in lines[3]
    assert "5" in lines[4].split()
    assert "trained" not in "".join(lines_of(study_table(history_of(study(STUDY)))))


@pytest.mark.parametrize(
    ("second", "sentence"),
    [
        # Standard deviations of 1.41 and 1.41 points: 2 standard errors are 2 x 1.41 points.
        ([0.87, 0.89], ""),
        (
            [0.89, 0.91],
            "The best two cannot be told apart: their means differ by 1.0 points,"
            " and 2 standard errors of that are 2.8 points.",
        ),
    ],
)
def test_a_caption_says_where_the_best_two_cannot_be_told_apart(
    study, history_of, second, sentence
):
    table = study_table(history_of(study({"none": [0.90, 0.92], "head_only": second})))
    assert caption_of(table) == sentence


def test_one_seed_each_tells_nothing_apart(study, history_of):
    table = study_table(history_of(study({"none": [0.9], "head_only": [0.5]})))
    assert caption_of(table) == (
        "The best two cannot be told apart: their means differ by 40.0 points,"
        " and n = 1 and 1 is too few for a standard error."
    )


def test_a_configuration_alone_is_not_compared(study, history_of):
    assert caption_of(study_table(history_of(study({"none": [0.9, 0.8]})))) == ""


def test_a_study_without_results_is_a_table_without_rows(study, history_of):
    assert study_table(history_of(study({}))).row_count == 0
