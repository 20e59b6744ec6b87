import pytest

from inat_ray.page.leaderboard import leaderboard_section
from tests.made_up_sweep import of_now


@pytest.fixture
def history(sweep, history_of):
    return history_of(sweep)


def test_every_trial_is_in_the_leaderboard_the_best_first_and_those_without_a_result_last(
    history, rows_of
):
    rows = rows_of(leaderboard_section(history))
    assert [row[1] for row in rows] == [
        "trial_0000",
        "trial_0005",
        "trial_0004",
        "trial_0001",
        "trial_0002",
        "trial_0003",
    ]
    assert rows[0][:5] == ["1", "trial_0000", "90.0 %", "3/3", "finished"]
    assert rows[-1][:5] == ["-", "trial_0003", "-", "0/3", "failed: out of memory [GPU 0]"]


def test_the_leaderboard_is_by_scores_with_the_best_epoch_beside_them(sweep, history_of, rows_of):
    section = leaderboard_section(history_of(of_now(sweep)))
    rows = rows_of(section)
    assert rows[0][:5] == ["1", "trial_0000", "70.0 %", "90.0 %", "3/3"]
    assert rows[1][:5] == ["2", "trial_0005", "(60.0 %)", "60.0 %", "1/3"]
    assert rows[-1][:5] == ["-", "trial_0003", "-", "-", "0/3"]
    assert "Score: best mean val acc of 5 epochs in a row" in section.body


def test_the_leaderboard_has_a_column_for_each_cost_that_is_known(sweep, history_of):
    sized = [r.model_copy(update={"macs": 5_000_000}) if r is sweep[4] else r for r in sweep]
    for records, heads in ((sweep, ["ms/image"]), (sized, ["MACs", "ms/image"])):
        body = leaderboard_section(history_of(records)).body
        assert [h for h in ("params", "MACs", "memory", "ms/image") if f">{h}<" in body] == heads


def test_a_trials_name_leads_to_its_curve(history):
    assert 'href="#learning-curves" data-trial="trial_0000"' in leaderboard_section(history).body
