import time

from inat_ray.config.search import MAX_TRIALS
from inat_ray.log.records import (
    FinishAsked,
    PointBeyond,
    RunResumed,
    SearchChanged,
    StopAsked,
    TrialPicked,
)
from inat_ray.search.winner import winning_trial
from inat_ray.terminal.estimate import seconds_left
from inat_ray.terminal.run_texts import (
    best_text,
    end_text,
    epochs_text,
    states_text,
    steering_text,
    steering_texts,
    times_text,
)
from tests.made_up_sweep import of_now, renamed


def test_time_in_which_nothing_ran_is_neither_elapsed_nor_part_of_the_pace(sweep, history_of):
    history, at = history_of(sweep), sweep[-1].time
    before = times_text(history, now=at + 5)
    assert before.startswith("0:2")
    history.add(RunResumed(time=at + 10_000, trials=8))
    assert times_text(history, now=at + 10_005) == before


def test_the_clock_time_of_the_end_has_its_day_where_that_is_far(sweep, history_of):
    now = sweep[0].time + 160
    history = history_of(sweep)
    end = time.localtime(now + seconds_left(history, now=now))
    assert end_text(history, now=now) == time.strftime("until %H:%M", end)
    assert end_text(history_of(sweep[:2]), now=now) is None
    late = sweep[0].time + 1_000_000
    end = time.localtime(late + seconds_left(history, now=late))
    assert end_text(history, now=late) == time.strftime("until %a %H:%M", end)


def test_epochs_are_counted_against_the_plan_with_what_early_stopping_saved(sweep, history_of):
    assert epochs_text(history_of(sweep)) == "8 epochs of 24 planned, 2 saved by stopping early"
    assert epochs_text(history_of(sweep[:3])) == "1 epoch of 24 planned"


def test_the_best_is_told_by_its_score_and_after_a_confirmation_by_its_seeds(sweep, history_of):
    now = of_now(sweep)
    history = history_of(now)

    def told() -> str:
        return best_text(history, winning_trial(history))

    assert told() == "best score 70.0 % (trial_0000)"
    for record in renamed(now[1:6], "trial_0000_seed_7", purpose="confirm", seed=7):
        assert told() == "best score 70.0 % (trial_0000)"
        history.add(record)
    assert told() == "confirmed 70.0 % over 1 seed (trial_0000)"


def test_points_beyond_the_limits_are_counted_beside_the_trials(sweep, history_of):
    history = history_of(sweep[:5])
    assert states_text(history) == "1 of 8 trials: 1 running"
    history.add(PointBeyond(parameters={}, model_parameters=9, macs=9))
    expected = "1 of 8 trials: 1 running; 1 point beyond the limits, not trained"
    assert states_text(history) == expected


def test_what_a_person_asked_of_a_search_is_told_with_its_time(sweep, history_of):
    at = sweep[-1].time
    asked = [
        SearchChanged(
            time=at,
            parameters={"recipe.lr": {"min": 0.1, "max": 0.3}, "model.filters": {"values": ["a"]}},
            before={"recipe.lr": {"min": 0.1, "max": 0.5}, "model.filters": {"values": ["a", "b"]}},
            trials=8,
        ),
        SearchChanged(time=at, budget=2, trials=2),
        SearchChanged(
            time=at,
            budgets={"epochs": 12_000, "time": 7200.0, "target": 0.9},
            budgets_before={"epochs": 500, "time": None, "target": 0.9},
            trials=8,
        ),
        StopAsked(time=at, trial_id="trial_0005", epochs=2),
        FinishAsked(time=at),
        TrialPicked(time=at, trial_id="trial_0001"),
    ]
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
    texts = steering_texts(history_of([*sweep, *asked]).steering)
    assert [text.removeprefix(f"{when}, after 6 trials: ") for text in texts] == [
        "recipe.lr: max 0.3 instead of 0.5; model.filters: values a instead of a, b;"
        " 8 trials planned",
        "2 trials planned, 6 have begun and go on",
        "search.epochs: 12000 instead of 500; search.time: 2:00:00 instead of null",
        "trial_0005 ends after epoch 2",
        "the search ends",
        "trial_0001 is trained for the model instead of the winner",
    ]


def test_of_a_search_without_a_number_of_trials_no_number_is_told(sweep, history_of):
    """Nor of epochs: how many there will be, the time decides."""
    budgets = {"trials": MAX_TRIALS, "budgets": {"time": 600}}
    history = history_of([sweep[0].model_copy(update=budgets), *sweep[1:]])
    assert states_text(history).startswith("6 trials: ")
    assert epochs_text(history) == "8 epochs, 2 saved by stopping early"
    changed = SearchChanged(trials=MAX_TRIALS, budgets={"epochs": 50})
    assert steering_text(changed, begun=6) == "search.epochs: 50 instead of null"
