import pytest

from inat_ray.config.search import MAX_TRIALS
from inat_ray.log.records import LookAtTest, RunResumed, SearchChanged, SearchEnded
from inat_ray.terminal.estimate import (
    epochs_planned,
    phase_of,
    seconds_left,
    share_done,
)
from tests.made_up_sweep import renamed


def test_time_left_follows_the_pace_of_trials_with_running_ones_in_part(sweep, history_of):
    # 4 trials ended, of two more 2/3 and 1/3 are done; so of 8 trials 3 are left.
    left = seconds_left(history_of(sweep), now=sweep[0].time + 160)
    assert left == pytest.approx(160 / 5 * 3)


def test_time_left_is_unknown_before_the_first_epoch(sweep, history_of):
    assert seconds_left(history_of(sweep[:2]), now=sweep[0].time + 5) is None


def limited(sweep, *, trials: int = 8, **budgets) -> list:
    """The same log of a search that other budgets end, too."""
    return [sweep[0].model_copy(update={"trials": trials, "budgets": budgets}), *sweep[1:]]


@pytest.mark.parametrize("trials", [8, MAX_TRIALS])
def test_time_left_is_no_more_than_the_budget_of_it(sweep, history_of, trials):
    history = history_of(limited(sweep, trials=trials, time=200))
    assert seconds_left(history, now=sweep[0].time + 160) == pytest.approx(40)
    assert share_done(history, now=sweep[0].time + 160) == pytest.approx(0.8)


def test_a_search_beyond_its_time_has_no_time_left(sweep, history_of):
    history = history_of(limited(sweep, time=100))
    assert seconds_left(history, now=sweep[0].time + 160) is None
    assert share_done(history, now=sweep[0].time + 160) == 1


def test_time_left_follows_a_budget_of_epochs(sweep, history_of):
    history = history_of(limited(sweep, trials=MAX_TRIALS, epochs=10))  # 8 are done
    assert seconds_left(history, now=sweep[0].time + 160) == pytest.approx(160 / 8 * 2)
    assert epochs_planned(history) == 10


def test_a_larger_budget_than_the_trials_need_changes_nothing(sweep, history_of):
    told = history_of(limited(sweep, time=9999, epochs=9999))
    now = sweep[0].time + 160
    assert seconds_left(told, now=now) == seconds_left(history_of(sweep), now=now)
    assert share_done(told, now=now) == pytest.approx(5 / 8)


def test_a_search_that_only_a_target_ends_has_no_time_left_and_no_plan(sweep, history_of):
    history = history_of(limited(sweep, trials=MAX_TRIALS, target=0.99))
    now = sweep[0].time + 160
    assert (seconds_left(history, now=now), share_done(history, now=now)) == (None, 0)
    assert (history.planned_trials, epochs_planned(history)) == (None, None)


def test_a_budget_that_a_person_gave_meanwhile_holds_for_the_estimate(sweep, history_of):
    longer = SearchChanged(time=sweep[-1].time, trials=8, budgets={"time": 170})
    history = history_of([*limited(sweep, time=9999), longer])
    assert seconds_left(history, now=sweep[0].time + 160) == pytest.approx(10)


def test_time_left_of_a_single_training_follows_its_epochs(training, history_of):
    """The epochs take two seconds; two are left, and half of one of them has passed."""
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


def test_what_early_stopping_saved_is_counted_against_what_was_planned(sweep, history_of):
    history = history_of(sweep)
    assert epochs_planned(history) == 8 * 3
    assert history.epochs_saved == 2  # of trial_0001


def test_a_search_goes_through_its_phases(sweep, history_of):
    at = sweep[-1].time
    ended = SearchEnded(time=at, reason="trials")
    winner = renamed(sweep[1:6], "winner", purpose="final", time=at + 1)
    look = LookAtTest(time=at + 9, model="m", accuracy=0.5, loss=1.0, images=2, predictions="p")
    told = [*sweep, ended, *winner, look]
    phases = [phase_of(history_of(told[:n])) for n in range(len(sweep), len(told) + 1)]
    assert phases == ["search", "confirmation", *["winner's training"] * 4, "test", "finished"]


def test_an_earlier_look_at_the_test_set_does_not_end_an_extended_search(sweep, history_of):
    at = sweep[-1].time
    look = LookAtTest(time=at, model="m", accuracy=0.5, loss=1.0, images=2, predictions="p")
    ended = SearchEnded(time=at, reason="trials")
    winner = later(renamed(sweep[1:6], "winner", purpose="final"), at + 1)
    history = history_of([*sweep, look, ended, *winner])
    assert phase_of(history) == "test"


def later(records, time: float) -> list:
    """The records from this time on, a second apart."""
    return [
        record.model_copy(update={"time": time + number}) for number, record in enumerate(records)
    ]


def test_an_extended_search_is_not_finished_while_its_second_winner_is_trained(sweep, history_of):
    at = sweep[-1].time
    ended = SearchEnded(time=at, reason="trials")
    look = LookAtTest(time=at + 9, model="m", accuracy=0.5, loss=1.0, images=2, predictions="p")
    first = later(renamed(sweep[1:6], "winner", purpose="final"), at + 1)
    better = later(renamed(sweep[1:6], "better", parameters={"recipe.lr": 0.5}), at + 20)
    better[1] = better[1].model_copy(update={"val_accuracy": 0.99})
    second = later(renamed(better, "winner_2", purpose="final"), at + 40)
    told = [*sweep, ended, *first, look, RunResumed(time=at + 15, trials=9, extended=True)]
    told += [*better, ended, *second, look.model_copy(update={"time": at + 60})]
    phases = [phase_of(history_of(told[:n])) for n in range(len(told) - 7, len(told) + 1)]
    assert phases == ["search", "confirmation", *["winner's training"] * 4, "test", "finished"]


def test_a_single_training_is_training_until_it_ends(training, history_of):
    assert phase_of(history_of(training[:-1])) == "training"
    assert phase_of(history_of(training)) == "finished"
