"""When trials trained, and the best so far."""

import pytest

from inat_ray.log.records import RunResumed
from inat_ray.page.progress import active_time, progress_section
from tests.made_up_sweep import STARTED, of_now


@pytest.fixture
def history(sweep, history_of):
    return history_of(sweep)


def test_a_trial_stands_at_its_end_and_the_line_steps_at_new_bests(history, data_of):
    section = progress_section(history)
    rows = data_of(section, "progress", "active time")
    points = {trial: (float(x), float(y)) for _, trial, x, y in rows if trial.startswith("trial_")}
    assert points["trial_0000"] == (4, 0.9)
    assert len(points) == 5
    best = [(float(x), float(y)) for series, _, x, y in rows if series == "best so far"]
    assert [y for _, y in best] == [0.5, 0.9, 0.9]
    assert best[1][0] == 3


def test_the_axis_may_be_epochs_spent_or_trials(history, data_of):
    section = progress_section(history)
    for view, title, last in (
        ("epochs spent", "epochs spent by the search", "8"),
        ("trial", "trial, in order of start", "5"),
    ):
        heads, *rows = data_of(section, "progress", view)
        assert heads[2] == title
        assert next(x for _, trial, x, _ in rows if trial == "trial_0005") == last


def test_time_in_which_no_process_ran_is_cut_out(sweep, history_of):
    pause = RunResumed(time=sweep[-1].time + 1000, trials=8)
    history = history_of([*sweep, pause])
    active = active_time(history)
    assert active(sweep[-1].time) == sweep[-1].time - STARTED
    assert active(pause.time + 5) == sweep[-1].time - STARTED + 5
    assert "16:40 in which the run was stopped are cut out" in progress_section(history).body


def test_the_best_so_far_is_another_line_while_it_is_a_single_epoch(sweep, history_of, data_of):
    section = progress_section(history_of(of_now(sweep)))
    assert "Until a trial has 3 epochs in a row" in section.body
    rows = data_of(section, "progress", "active time")
    lines = {
        name: [y for series, _, _, y in rows if series == name]
        for name in ("best epoch so far", "best so far")
    }
    assert lines == {"best epoch so far": ["0.5", "0.7", "0.7"], "best so far": ["0.7", "0.7"]}


def test_what_trained_at_the_same_time_stands_one_above_the_other(history_of, study):
    one, two = study({"a": [0.5]})[1:], study({"b": [0.6], "c": [0.7]})[4:]
    together = [r.model_copy(update={"time": r.time - 3}) for r in two]
    section = progress_section(history_of([*study({"a": [0.5]})[:1], *one, *together]))
    lanes = section.figures[0].views["active time"][1]
    assert len({mark.low[1] for mark in lanes.marks}) == 2
