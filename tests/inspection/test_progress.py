import io

import pytest
from rich.console import Console

from inat_ray.inspection.progress import (
    RunProgress,
    duration,
    live_view,
    seconds_left,
    standing_line,
    times_text,
)
from inat_ray.search.history import History
from inat_ray.search.records import RunResumed, SearchEnded

CURSOR_HIDDEN, CURSOR_SHOWN, LINE_ERASED = "\x1b[?25l", "\x1b[?25h", "\x1b[2K"


def rendered(renderable, *, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()


def shown(records, console: Console) -> str:
    """What a run with these records leaves on a console."""
    with RunProgress(console) as progress:
        for record in records:
            progress(record)
    return console.file.getvalue()


def plain_lines(records) -> list[str]:
    return shown(records, Console(width=80, file=io.StringIO())).splitlines()


def terminal(**options) -> Console:
    return Console(width=80, height=24, file=io.StringIO(), force_terminal=True, **options)


def renamed(records, trial_id: str, **updates) -> list:
    """The records of one trial as those of another; `updates` go to its start."""
    start, *rest = records
    return [
        start.model_copy(update={"trial_id": trial_id, **updates}),
        *(record.model_copy(update={"trial_id": trial_id}) for record in rest),
    ]


@pytest.fixture
def training(sweep) -> list:
    """The records of `train`: one configuration, three epochs."""
    run = sweep[0].model_copy(update={"method": "train", "parameters": {}, "trials": 1})
    return [run, *renamed(sweep[1:6], "train", parameters={})]


def test_before_anything_is_known_the_view_says_so():
    assert rendered(live_view(History(), now=0.0)).strip() == "starting"


def test_the_view_shows_trials_by_state_the_best_the_running_and_the_time(sweep, history_of):
    text = rendered(live_view(history_of(sweep), now=sweep[0].time + 64))
    assert "1 finished, 1 stopped, 1 diverged, 1 failed, 1 interrupted" in text
    assert "8 epochs" in text
    assert "best val acc 90.0 % (trial_0000)  lr=0.003 batch_norm=true" in text
    assert "1:04 gone, about 0:38 left" in text
    (running,) = (line for line in text.splitlines() if line.startswith("trial_"))
    assert running.split()[:5] == ["trial_0005", "1/3", "60.0", "%", "1,000"]


def test_speeds_of_running_trials_add_up(sweep, history_of):
    more = renamed(sweep[1:3], "trial_0006")
    assert "2,000 images/s" in rendered(live_view(history_of([*sweep, *more]), now=0.0))


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_view_keeps_to_the_width_with_one_line_for_each_running_trial(sweep, history_of, width):
    long = {f"model.a_rather_long_name_{number}": [64] * 5 for number in range(9)}
    more = [renamed(sweep[1:4], f"trial_{n:04d}", parameters=long) for n in range(6, 9)]
    history = history_of([*sweep, *(record for trial in more for record in trial)])
    lines = rendered(live_view(history, now=sweep[-1].time), width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert [line.split()[0] for line in lines[-4:]] == [f"trial_{n:04d}" for n in range(5, 9)]


def test_of_many_running_trials_the_view_shows_some_and_counts_the_rest(sweep, history_of):
    more = [record for n in range(20) for record in renamed(sweep[1:3], f"many_{n:04d}")]
    text = rendered(live_view(history_of([*sweep[:1], *more]), now=sweep[0].time))
    assert text.count("many_") == 8 + 1  # eight rows, and the best
    assert "and 12 more" in text


def test_time_left_follows_the_pace_of_trials_with_running_ones_in_part(sweep, history_of):
    # 4 trials ended, of two more 2/3 and 1/3 are done; so of 8 trials 3 are left.
    left = seconds_left(history_of(sweep), now=sweep[0].time + 160)
    assert left == pytest.approx(160 / 5 * 3)


def test_time_left_is_unknown_before_the_first_epoch(sweep, history_of):
    assert seconds_left(history_of(sweep[:2]), now=sweep[0].time + 5) is None


def test_time_in_which_nothing_ran_is_neither_gone_nor_part_of_the_pace(sweep, history_of):
    history, at = history_of(sweep), sweep[-1].time
    before = times_text(history, now=at + 5)
    assert before.startswith("0:2")
    history.add(RunResumed(time=at + 10_000, trials=8))
    assert times_text(history, now=at + 10_005) == before


def test_time_left_of_a_single_training_follows_its_epochs(training, history_of):
    """Of two seconds each; two are left, and of one of them a half is over."""
    left = seconds_left(history_of(training[:3]), now=training[2].time + 1)
    assert left == pytest.approx(2 * 2 - 1)
    assert seconds_left(history_of(training[:5]), now=training[4].time + 1) is None


def test_an_epoch_that_takes_longer_than_the_others_leaves_those_after_it(training, history_of):
    left = seconds_left(history_of(training[:3]), now=training[2].time + 1000)
    assert left == pytest.approx(2)


def test_the_winners_training_has_a_time_left_of_its_own(sweep, history_of):
    winner = renamed(sweep[1:3], "winner", purpose="final", time=sweep[0].time + 1000)
    history = history_of([*sweep, *winner])
    assert seconds_left(history, now=winner[-1].time) == pytest.approx(4)


def test_an_extended_search_has_a_time_left_although_a_winner_was_trained(sweep, history_of):
    winner = renamed(sweep[1:6], "winner", purpose="final", time=sweep[-1].time)
    more = RunResumed(time=sweep[-1].time + 10, trials=20, extended=True)
    history = history_of(
        [*sweep, *winner, SearchEnded(time=winner[-1].time, reason="trials"), more]
    )
    assert seconds_left(history, now=more.time + 5) > 0


def test_while_the_best_are_confirmed_the_view_says_so_and_guesses_no_time(sweep, history_of):
    ended = SearchEnded(time=sweep[-1].time, reason="epochs")
    again = renamed(sweep[1:3], "trial_0000_seed_7", purpose="confirm")
    history = history_of([*sweep, ended, *again])
    line = standing_line(history, now=ended.time + 60)
    assert "; 1 confirming: 1 running; " in line
    assert "left" not in line


def test_without_a_terminal_each_start_and_each_end_is_a_line(sweep):
    lines = plain_lines(sweep)
    assert lines[:2] == [
        "trial_0000 starts, 3 epochs  lr=0.003 batch_norm=true filters=32-64",
        "[1/8] trial_0000 finished after 3/3 epochs, val acc 90.0 %;"
        " best val acc 90.0 % (trial_0000)",
    ]
    assert lines[7].startswith("[4/8] trial_0003 failed (out of memory [GPU 0]) after 0/3 epochs")
    assert len(lines) == 6 + 5


def test_without_a_terminal_a_search_says_every_ten_seconds_where_it_stands(sweep):
    quick, slow = (
        [sweep[0], *(r.model_copy(update={"time": sweep[0].time + t}) for r, t in timed)]
        for timed in (
            zip(sweep[1:5], (1, 4, 7, 10), strict=True),
            zip(sweep[1:5], (1, 4, 11, 14), strict=True),
        )
    )
    assert len(plain_lines(quick)) == 1
    assert plain_lines(slow)[1:] == [
        "1 of 8 trials: 1 running; 2 epochs, 1,000 images/s; 0:11 gone, about 2:01 left;"
        " best val acc 90.0 % (trial_0000)"
    ]


def test_where_a_search_stands_can_be_said_before_there_is_a_result(sweep, history_of):
    assert standing_line(history_of(sweep[:2]), now=sweep[0].time + 3) == (
        "1 of 8 trials: 1 running; 0 epochs; 0:03 gone; no result yet"
    )


def test_a_single_training_says_a_line_an_epoch(training):
    lines = plain_lines(training)
    assert lines[0] == "train starts, 3 epochs"
    assert lines[2] == "epoch 2/3  train  1.000  50.0 %  val  1.500  90.0 %  1,000 images/s"
    assert lines[4] == "train finished after 3/3 epochs, val acc 90.0 %"
    assert len(lines) == 5


def test_the_winners_training_says_a_line_an_epoch(sweep):
    lines = plain_lines([*sweep, *renamed(sweep[1:6], "winner", purpose="final")])[11:]
    assert [line.split()[0] for line in lines] == ["winner", "epoch", "epoch", "epoch", "winner"]


def test_a_line_is_not_broken_at_the_width_of_a_log(sweep):
    assert all(line.startswith(("trial_", "[")) for line in plain_lines(sweep))
    assert max(map(len, plain_lines(sweep))) > 80


def test_a_search_by_loss_shows_losses(sweep):
    run = sweep[0].model_copy(update={"metric": "val_loss", "goal": "minimize"})
    assert plain_lines([run, *sweep[1:6]])[1].endswith("best val loss 1.500 (trial_0000)")


def test_in_a_terminal_a_training_leaves_its_epochs_and_takes_its_table_away(training):
    output = shown(training, terminal())
    assert "epoch 3/3" in output
    assert output.index(CURSOR_HIDDEN) < output.index("epoch 1/3") < output.index(CURSOR_SHOWN)
    assert output.endswith(LINE_ERASED)


def test_in_a_terminal_a_search_is_a_table_and_no_lines(sweep):
    output = shown(sweep, terminal())
    assert "best val acc 90.0 % (trial_0000)" in output
    assert "starts, 3 epochs" not in output


def test_in_a_terminal_the_error_of_a_trial_stays_to_be_read(sweep):
    assert "trial_0003 failed (out of memory [GPU 0])" in shown(sweep, terminal())


def test_no_color_is_honoured(sweep, monkeypatch):
    green = "\x1b[32m"
    assert green in shown(sweep, terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert green not in shown(sweep, terminal())


def test_a_terminal_that_cannot_redraw_gets_lines(sweep, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    output = shown(sweep, terminal())
    assert "\x1b" not in output
    assert len(output.splitlines()) == 11


def test_the_cursor_comes_back_after_an_error(sweep):
    def failing_run() -> None:
        with RunProgress(console) as progress:
            progress(sweep[0])
            raise ZeroDivisionError

    console = terminal()
    with pytest.raises(ZeroDivisionError):
        failing_run()
    assert CURSOR_SHOWN in console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1.0, "0:00"), (59.6, "1:00"), (125, "2:05"), (3723, "1:02:03")]
)
def test_durations_read_like_a_clock(seconds, text):
    assert duration(seconds) == text
