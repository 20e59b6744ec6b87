import io

import pytest
from rich.console import Console

from inat_ray.data.progress import NOTEBOOK
from inat_ray.log.history import TrialHistory
from inat_ray.log.records import FinishAsked, SearchEnded
from inat_ray.terminal.progress import RunProgress, ending_line, standing_line
from tests.made_up_sweep import of_now, renamed

CURSOR_HIDDEN, CURSOR_SHOWN, LINE_ERASED = "\x1b[?25l", "\x1b[?25h", "\x1b[2K"


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


def test_the_score_of_a_trial_without_a_whole_stretch_is_in_brackets_in_lines_too(
    sweep, history_of
):
    history = history_of(of_now(sweep))
    stopped = ending_line(history, history.trials["trial_0001"])
    assert stopped.endswith("score (25.0 %); best score 70.0 % (trial_0000)")
    history = history_of([*of_now(sweep)[:1], *sweep[6:8]])
    assert standing_line(history, now=sweep[7].time).endswith("best score (25.0 %) (trial_0001)")


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
        "[1/8] trial_0000 finished after 3/3 epochs, val acc 90.0 %, the best so far",
    ]
    assert lines[3].endswith("val acc 25.0 %; best val acc 90.0 % (trial_0000)")
    assert lines[7].startswith("[4/8] trial_0003 failed (out of memory [GPU 0]) after 0/3 epochs")
    assert len(lines) == 6 + 5


@pytest.mark.parametrize("is_terminal", [False, True])
def test_what_a_person_asks_for_is_a_line_in_a_file_and_above_a_live_view(sweep, is_terminal):
    records = [*sweep, FinishAsked(time=sweep[-1].time)]
    if is_terminal:
        assert "asked: the search ends" in shown(records, terminal())
    else:
        assert plain_lines(records)[-1] == "asked: the search ends"


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
        "1 of 8 trials: 1 running; 2 epochs, 1,000 images/s; 0:11 elapsed, about 1:39 left;"
        " best val acc 90.0 % (trial_0000)"
    ]


def test_where_a_search_stands_can_be_said_before_there_is_a_result(sweep, history_of):
    assert standing_line(history_of(sweep[:2]), now=sweep[0].time + 3) == (
        "1 of 8 trials: 1 running; 0 epochs; 0:03 elapsed; no result yet"
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
    assert lines[0] == "winner starts, 3 epochs, as trial_0000"


def test_a_line_is_not_broken_at_the_width_of_a_log(sweep):
    assert all(line.startswith(("trial_", "[")) for line in plain_lines(sweep))
    assert max(map(len, plain_lines(sweep))) > 80


def test_a_search_by_loss_shows_losses(sweep):
    run = sweep[0].model_copy(update={"metric": "val_loss", "goal": "minimize"})
    assert plain_lines([run, *sweep[1:6]])[1].endswith("val loss 1.500, the best so far")


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


def test_a_cell_of_a_notebook_gets_lines_although_it_looks_like_a_terminal(sweep, monkeypatch):
    monkeypatch.setenv(NOTEBOOK, "1")
    output = shown(sweep, terminal())
    assert CURSOR_HIDDEN not in output
    assert len(output.splitlines()) == 11


def test_a_line_at_a_trials_end_looks_at_that_trial_and_not_at_all_of_them(
    sweep, history_of, monkeypatch
):
    """A search of thousands writes thousands of such lines."""
    history = history_of(sweep[:6])
    for number in range(1, 500):
        one = renamed(sweep[1:6], f"more_{number:04d}")
        for record in one:
            history.add(record)
    asked = []
    best = TrialHistory.best
    monkeypatch.setattr(TrialHistory, "best", lambda *args: asked.append(args[0]) or best(*args))
    line = ending_line(history, history.trials["more_0400"])
    assert "[500/8] more_0400 finished after 3/3 epochs" in line
    assert len(asked) <= 3
