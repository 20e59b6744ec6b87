import io
import re

import pytest
from rich.console import Console

from inat_ray.log.records import LOG_VERSION, EpochEnded
from inat_ray.search.front import fronts
from inat_ray.terminal.search_tables import (
    ablation_table,
    front_table,
    leaderboard_table,
    study_table,
)

STUDY = {"head_only": [0.80, 0.82], "none": [0.90, 0.94], "freeze_fc": [0.99]}
ABLATION = {"none": [0.90, 0.94, 0.92], "head_only": [0.80, 0.82, 0.81], "freeze_fc": [0.99]}


def lines_of(table, *, width: int = 80) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


def rows_of(table) -> list[list[str]]:
    """The cells of a titled table, without its title and its header."""
    return [line.split() for line in lines_of(table, width=100)[3:]]


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
    assert lines[-1] == "and 1 more in the report and in trials.parquet"


def test_the_leaderboard_is_by_scores_and_brackets_that_of_a_trial_without_a_whole_stretch(
    sweep, history_of
):
    run = sweep[0].model_copy(update={"version": LOG_VERSION})
    table = leaderboard_table(history_of([run, *sweep[1:]]))
    lines = lines_of(table)
    assert [line.split()[1:6] for line in lines if "trial_0" in line][:2] == [
        ["trial_0000", "73.3", "%", "3/3", "finished"],
        ["trial_0005", "(60.0", "%)", "1/3", "running"],
    ]
    meaning = "score: best mean val acc of 5 epochs in a row (of all, if fewer are planned)"
    brackets = "; in brackets the best epoch of a trial that has not as many"
    assert caption_of(table).splitlines()[-1] == meaning + brackets
    best = leaderboard_table(history_of([run, *sweep[1:]]), most=1)
    assert caption_of(best).splitlines()[-1] == meaning


def test_where_all_have_finished_the_leaderboard_does_not_say_so_in_each_row(sweep, history_of):
    assert "finished  " not in "".join(lines_of(leaderboard_table(history_of(sweep), most=1)))


@pytest.mark.parametrize("width", range(46, 80, 3))
def test_parameters_make_the_leaderboard_no_wider_than_it_may_be(sweep, history_of, width):
    table = leaderboard_table(history_of(sweep), width=width)
    lines = lines_of(table, width=200)
    assert max(map(len, [line for line in lines if "trial_0" in line])) <= width
    (header,) = (line.split() for line in lines if line.startswith(" # "))
    named = caption_of(table).partition("also searched: ")[2].split("\n")[0].split(", ")
    assert sorted(header[6:] + [name for name in named if name]) == ["batch_norm", "filters", "lr"]


def test_parameters_come_before_costs_where_a_leaderboard_is_narrow(sweep, history_of):
    """All trials differ in their size, and in 70 columns there is no room to say so."""
    sized = [
        r.model_copy(update={"model_parameters": 10**n}) if isinstance(r, EpochEnded) else r
        for n, r in enumerate(sweep)
    ]
    for width, has_costs in ((100, True), (70, False)):
        table = leaderboard_table(history_of(sized), width=width)
        assert ("params" in "".join(lines_of(table, width=width))) == has_costs


def test_long_leaderboards_are_cut_and_say_so(sweep, history_of):
    lines = lines_of(leaderboard_table(history_of(sweep), most=2))
    assert sum("trial_" in line for line in lines) == 2
    assert lines[-1] == "and 4 more in the report and in trials.parquet"


def test_a_search_by_loss_has_a_column_for_it(sweep, history_of):
    run = sweep[0].model_copy(update={"metric": "val_loss", "goal": "minimize"})
    (header,) = (
        line for line in lines_of(leaderboard_table(history_of([run, *sweep[1:]]))) if "#" in line
    )
    assert "val loss" in header
    assert "val acc" in header


def test_a_leaderboard_without_results_is_a_table_without_rows(sweep, history_of):
    assert leaderboard_table(history_of(sweep[:1])).row_count == 0


def test_the_best_for_their_costs_are_listed_with_the_fronts_that_they_are_on(sweep, history_of):
    sizes = {"trial_0000": 900, "trial_0005": 800, "trial_0004": 100, "trial_0001": 200}
    sized = [
        record.model_copy(update={"model_parameters": sizes.get(record.trial_id)})
        if isinstance(record, EpochEnded)
        else record
        for record in sweep
    ]
    history = history_of(sized)
    lines = lines_of(front_table(history, fronts(history)))
    assert [line.split()[:2] for line in lines if line.startswith((" 1", " 2", " 3", " 4"))] == [
        ["1", "trial_0000"],
        ["2", "trial_0005"],
        ["3", "trial_0004"],
    ]
    assert [re.findall(r"\d+\*", line) for line in lines if "trial_" in line] == [
        ["900*"],
        ["800*"],
        ["100*"],
    ]
    assert lines[-2] == "*: no other trial costs as little and is as good"
    assert lines[-1] == "also searched: filters"


def caption_of(table) -> str:
    return str(table.caption or "")


def test_trials_that_differ_in_their_seed_alone_are_told_apart(study, history_of):
    table = leaderboard_table(history_of(study(STUDY)))
    (seeds,) = (list(column.cells) for column in table.columns if column.header == "seed")
    assert len(set(seeds)) > 1


def test_a_configuration_is_a_row_with_the_mean_and_spread_of_its_seeds(study, history_of):
    lines = lines_of(study_table(history_of(study(STUDY))))
    header, _, *rows = lines[1:]
    assert header.split() == [*("#", "n", "val", "acc,", "mean", "±", "sd", "s/epoch", "freeze")]
    assert [row.split() for row in rows] == [
        ["1", "2", "92.0", "±", "2.8", "%", "2.00", "none"],
        ["2", "2", "81.0", "±", "1.4", "%", "2.00", "head_only"],
        ["-", "1", "99.0", "%", "2.00", "freeze_fc"],
    ]


def test_a_loss_is_no_percentage(study, history_of):
    records = study(
        {"none": [0.1, 0.2], "head_only": [0.0, 0.0]}, metric="val_loss", goal="minimize"
    )
    text = "\n".join(lines_of(study_table(history_of(records))))
    assert "val loss, mean ± sd" in text
    assert "0.850 ± 0.071" in text


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


def test_a_change_is_a_row_with_the_difference_that_it_makes_over_the_same_seeds(study, history_of):
    table = ablation_table(history_of(study(ABLATION, method="ablation")))
    assert rows_of(table) == [
        ["3", "92.0", "±", "2.0", "%", "2.00", "nothing"],
        ["3", "81.0", "±", "1.0", "%", "-11.0", "±", "0.6", "2.00", "freeze=head_only"],
        ["1", "99.0", "%", "+9.0", "2.00", "freeze=freeze_fc"],
    ]


def test_a_loss_differs_in_its_own_unit(study, history_of):
    records = study(ABLATION, method="ablation", metric="val_loss", goal="minimize")
    rows = {row[-1]: row for row in rows_of(ablation_table(history_of(records)))}
    assert rows["freeze=head_only"][4:7] == ["+0.1100", "±", "0.0058"]


def test_the_leaderboard_has_the_costs_in_which_trials_differ(sweep, history_of):
    sized = [
        record.model_copy(update={"model_parameters": 2000 * (record.trial_id == "trial_0000")})
        if isinstance(record, EpochEnded)
        else record
        for record in sweep
    ]
    table = leaderboard_table(history_of(sized), width=100)
    (header,) = (line for line in lines_of(table, width=100) if "#" in line)
    assert "params" in header
    assert "MACs" not in header
    assert "ms/image" not in header  # it is the same in all
    assert "2 K" in next(line for line in lines_of(table, width=100) if "trial_0000" in line)
