"""What the page says of trials is what the log says."""

from collections import Counter

import pytest

from inat_ray.config.search import EarlyStopping
from inat_ray.page.trials import front_section, rungs_section
from inat_ray.search.front import fronts


@pytest.fixture
def history(sweep, history_of):
    return history_of(sweep)


def test_rungs_tell_who_came_and_who_went_on(history, data_of):
    settings = EarlyStopping(kind="asha", min_epochs=1, reduction_factor=2)
    section = rungs_section(history, settings)
    # 5 trials have a first epoch; two of them trained a second.
    _, *points = data_of(section, "rungs")
    assert {x for _, _, x, _ in points} == {"epoch 1: 2/5", "epoch 2: 1/2"}
    assert Counter(series for series, *_ in points) == {"went on": 3, "ended there": 4}


def test_a_front_is_drawn_against_each_cost_and_its_trials_are_listed(
    sweep, history_of, rows_of, data_of
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
    heads, *points = data_of(section, "front")
    assert heads == ["series", "trial", "params", "val acc"]
    assert sorted(trial for _, trial, _, _ in points) == [
        "trial_0000",
        "trial_0001",
        "trial_0004",
        "trial_0005",
    ]
    assert sorted(row[1:] for row in points if row[0] == "front") == [
        ["trial_0000", "900", "0.9"],
        ["trial_0004", "100", "0.4"],
        ["trial_0005", "800", "0.6"],
    ]
