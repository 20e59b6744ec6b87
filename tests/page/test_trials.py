"""What the page says of trials is what the log says."""

import pytest

from inat_ray.config.search import EarlyStopping
from inat_ray.page.trials import (
    curves_section,
    front_section,
    progress_section,
    rungs_section,
)
from inat_ray.search.front import fronts
from tests.made_up_sweep import of_now


@pytest.fixture
def history(sweep, history_of):
    return history_of(sweep)


def test_the_line_of_the_best_so_far_is_that_of_the_score(sweep, history_of, plots_of):
    (drawn,) = plots_of(progress_section(history_of(of_now(sweep))))
    (line,) = (trace for trace in drawn["data"] if trace["name"] == "best so far")
    assert line["y"] == pytest.approx([0.5, 0.7, 0.8, 0.8])


def test_a_curve_has_its_trials_name(history, plots_of):
    (drawn,) = plots_of(curves_section(history))
    assert "trial_0000" in [trace.get("meta") for trace in drawn["data"]]


def test_a_curve_has_every_epoch_and_ends_in_the_symbol_of_its_state(history, plots_of):
    (drawn,) = plots_of(curves_section(history))
    curves = {trace["meta"]: trace for trace in drawn["data"]}
    assert curves["trial_0000"]["y"] == [0.5, 0.9, 0.8]
    assert curves["trial_0001"]["marker"]["symbol"] == "circle-open"
    assert "trial_0003" not in curves


def test_points_stand_at_their_creation_and_the_line_steps_at_new_bests(history, plots_of):
    (drawn,) = plots_of(progress_section(history))
    points = {
        name: (x, y)
        for trace in drawn["data"]
        if trace["mode"] == "markers"
        for name, x, y in zip(trace["text"], trace["x"], trace["y"], strict=True)
    }
    assert points["trial_0000"] == (pytest.approx(1 / 60), 0.9)
    assert len(points) == 5
    (line,) = (trace for trace in drawn["data"] if trace["name"] == "best so far")
    assert line["y"] == [0.5, 0.9, 0.9]
    assert line["x"] == sorted(line["x"])


def test_rungs_tell_who_came_and_who_went_on(history, rows_of, plots_of):
    settings = EarlyStopping(kind="asha", min_epochs=1, reduction_factor=2)
    section = rungs_section(history, settings)
    # 5 trials have a first epoch; two of them trained a second.
    assert rows_of(section) == [["1", "5", "2", "30.0 %"], ["2", "2", "1", "90.0 %"]]
    (drawn,) = plots_of(section)
    assert [len(trace["x"]) for trace in drawn["data"]] == [3, 4]


def test_a_front_is_drawn_against_each_cost_and_its_trials_are_listed(
    sweep, history_of, rows_of, plots_of
):
    sizes = {"trial_0000": 900, "trial_0005": 800, "trial_0004": 100, "trial_0001": 200}
    sized = [
        record.model_copy(update={"model_parameters": sizes.get(record.trial_id)})
        if record.kind == "epoch_ended"
        else record
        for record in sweep
    ]
    history = history_of(sized)
    section = front_section(history, fronts(history))
    assert rows_of(section) == [
        ["1", "trial_0000", "90.0 %", "900", "params"],
        ["2", "trial_0005", "60.0 %", "800", "params"],
        ["3", "trial_0004", "40.0 %", "100", "params"],
    ]
    [plot] = plots_of(section)
    trials, front = plot["data"]
    assert sorted(trials["text"]) == ["trial_0000", "trial_0001", "trial_0004", "trial_0005"]
    assert list(zip(front["text"], front["x"], front["y"], strict=True)) == [
        ("trial_0004", 100, 0.4),
        ("trial_0005", 800, 0.6),
        ("trial_0000", 900, 0.9),
    ]
