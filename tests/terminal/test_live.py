import io
import math

import pytest
from rich.console import Console

from inat_ray.log.history import History
from inat_ray.terminal import live
from inat_ray.terminal.live import flowed, live_view, sparkline, thinned
from tests.made_up_sweep import renamed


def rendered(history, *, now: float, width: int = 80, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(width=width, file=file)
    console.print(live_view(history, now=now, options=console.options))
    file.flush()
    return file.buffer.getvalue().decode(encoding)


def test_before_anything_is_known_the_view_says_so():
    assert rendered(History(), now=0.0).strip() == "starting"


def test_the_view_shows_trials_by_state_the_best_the_running_and_the_time(sweep, history_of):
    text = rendered(history_of(sweep), now=sweep[0].time + 64)
    assert "1 finished, 1 stopped, 1 diverged, 1 failed, 1 interrupted" in text
    assert "8 epochs of 24 planned, 2 saved by stopping early" in text
    assert "best val acc 90.0 % (trial_0000)" in text
    assert "1:04 elapsed, about 0:38 left" in text
    rows = [line.split() for line in text.splitlines() if line.startswith("trial")]
    assert rows[0][-3:] == ["lr", "batch_norm", "filters"]
    assert rows[1][5:] == ["1", "0.003", "true", "32-64"]
    assert rows[2] == ["trial_0005", "1/3", "60.0", "%", "▃", "2", "0.03", "false", "32-64"]


def test_speeds_of_running_trials_add_up(sweep, history_of):
    more = renamed(sweep[1:3], "trial_0006")
    assert "2,000 images/s" in rendered(history_of([*sweep, *more]), now=0.0)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_view_keeps_to_the_width_with_one_line_for_each_running_trial(sweep, history_of, width):
    long = {f"model.a_rather_long_name_{number}": [64] * 5 for number in range(9)}
    more = [renamed(sweep[1:4], f"trial_{n:04d}", parameters=long) for n in range(6, 9)]
    history = history_of([*sweep, *(record for trial in more for record in trial)])
    lines = rendered(history, now=sweep[-1].time, width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert [line.split()[0] for line in lines if line.startswith("trial_")] == [
        f"trial_{n:04d}" for n in (0, 5, 6, 7, 8)
    ]
    assert lines[-1].startswith("also searched: ") == (width < 80)


def test_of_many_running_trials_the_view_shows_some_and_counts_the_rest(sweep, history_of):
    more = [record for n in range(20) for record in renamed(sweep[1:3], f"many_{n:04d}")]
    text = rendered(history_of([*sweep[:1], *more]), now=sweep[0].time)
    assert text.count("many_") == 8 + 1  # eight rows, and the best
    assert "and 12 more" in text


def test_columns_drop_in_order_of_importance(sweep, history_of):
    titles, last = {}, {}
    for width in (40, 60, 80):
        lines = rendered(history_of(sweep), now=sweep[-1].time, width=width).splitlines()
        titles[width] = next(line for line in lines if line.startswith("trial ")).split()
        last[width] = lines[-1]
    assert titles[40] == ["trial", "epoch", "val", "acc", "curve"]
    assert titles[60] == [*titles[40], "rank", "lr", "batch_norm"]
    assert titles[80] == [*titles[60], "filters"]
    assert last[40] == "also searched: lr, batch_norm, filters"
    assert last[60] == "also searched: filters"


def test_the_best_stands_above_the_running_ones_and_once_if_it_runs(sweep, history_of):
    lines = rendered(history_of(sweep[:4]), now=sweep[-1].time).splitlines()
    assert [line.split()[0] for line in lines if line.startswith("trial_")] == ["trial_0000"]


def test_a_running_trial_has_its_rank_among_all(sweep, history_of):
    lines = rendered(history_of(sweep), now=sweep[-1].time).splitlines()
    assert lines[-1].split()[5] == "2"  # after trial_0000 alone


def test_a_console_without_unicode_gets_ascii_alone(sweep, history_of):
    run = sweep[0].model_copy(update={"name": "bl\u00e4tter"})
    text = rendered(history_of([run, *sweep[1:]]), now=sweep[-1].time, encoding="ascii")
    assert "bl?tter" in text
    assert "trial_0005" in text


def test_a_curve_goes_from_the_lowest_to_the_highest_block():
    assert sparkline([0.0, 0.5, 1.0], low=0.0, high=1.0) in ("▁▄█", "▁▅█")
    assert sparkline([0.0, math.nan, 1.0], low=0.0, high=1.0, ascii_only=True) == "_?#"
    assert sparkline([0.3], low=0.3, high=0.3) == "▁"


def test_of_many_epochs_a_curve_keeps_the_last_of_each_part():
    assert thinned([1.0, 2.0, 3.0, 4.0], 2) == [2.0, 4.0]
    assert thinned([1.0], 2) == [1.0]
    assert len(sparkline(list(range(100)), low=0, high=99)) == 10


def test_a_line_is_broken_after_commas_and_semicolons_alone():
    assert flowed("a b, c d; e f", 9) == ["a b, c d;", "e f"]
    assert flowed("a b, c d", 3) == ["a b,", "c d"]


def test_the_winner_is_sought_once_for_a_view(sweep, history_of, monkeypatch):
    sought = []

    def winning_trial(history):
        sought.append(history)
        return history.leader

    monkeypatch.setattr(live, "winning_trial", winning_trial)
    assert "best val acc 90.0 %" in rendered(history_of(sweep), now=sweep[0].time)
    assert len(sought) == 1
