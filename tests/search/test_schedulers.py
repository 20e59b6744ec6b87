import pytest

from inat_ray.config.search import EarlyStopping
from inat_ray.log.history import History
from inat_ray.log.records import TrialPaused, TrialResumed, TrialStarted
from inat_ray.search.schedulers import (
    SCHEDULERS,
    at_rung,
    next_best,
    promote_the_best,
)
from tests.search.histories import epoch_of_value as epoch_of
from tests.search.histories import history_of_curves as history_of

ASHA = EarlyStopping(kind="asha", min_epochs=2, reduction_factor=3)


def judged(settings: EarlyStopping, history: History, trial_id: str) -> str:
    return SCHEDULERS[settings.kind].judge(settings, history, history.trials[trial_id])


def test_rungs_lie_a_reduction_factor_apart():
    rungs = [e for e in range(1, 60) if at_rung(ASHA, e)]
    assert rungs == [2, 6, 18, 54]


def test_the_best_third_goes_on():
    curves = {f"t{value}": [value, value] for value in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)}
    history = history_of(curves)
    states = [judged(ASHA, history, trial_id) for trial_id in curves]
    assert states == ["stopped"] * 4 + ["running"] * 2


def test_the_first_at_a_rung_goes_on():
    assert judged(ASHA, history_of({"a": [0.1, 0.1]}), "a") == "running"


def test_a_worse_one_is_stopped_at_the_rung_and_only_there():
    better = [0.9] * 4
    at_rung = history_of({"a": better, "b": [0.1, 0.1]})
    between = history_of({"a": better, "b": [0.1, 0.1, 0.1]})
    assert judged(ASHA, at_rung, "b") == "stopped"
    assert judged(ASHA, between, "b") == "running"


def test_trials_are_compared_at_the_same_epoch():
    """The rival is better by now, but was worse at the rung."""
    history = history_of({"a": [0.1, 0.1, 0.9], "b": [0.2, 0.2]})
    assert judged(ASHA, history, "b") == "running"


def test_where_the_loss_is_minimized_the_lower_survives():
    history = history_of({"a": [0.1, 0.1], "b": [0.9, 0.9]}, metric="val_loss")
    assert judged(ASHA, history, "b") == "stopped"


def test_a_diverged_rival_does_not_count_at_a_rung():
    history = history_of({"a": [float("nan"), float("nan")], "b": [0.1, 0.1]})
    assert judged(ASHA, history, "b") == "running"


PROMOTION = EarlyStopping(kind="asha_promotion", min_epochs=2, reduction_factor=3)


def paused_at(values: list[float]) -> History:
    """Trials t0, t1, ... that are paused after two epochs with these values."""
    history = history_of({f"t{number}": [value, value] for number, value in enumerate(values)})
    for number in range(len(values)):
        history.add(TrialPaused(trial_id=f"t{number}"))
    return history


def test_every_trial_pauses_at_a_rung():
    history = history_of({"a": [0.9, 0.9], "b": [0.9]})
    assert judged(PROMOTION, history, "a") == "paused"
    assert judged(PROMOTION, history, "b") == "running"


def test_of_two_none_is_promoted_and_of_three_the_best():
    assert promote_the_best(PROMOTION, paused_at([0.1, 0.3])) is None
    assert promote_the_best(PROMOTION, paused_at([0.1, 0.3, 0.2])) == "t1"


def test_a_trial_that_was_promoted_makes_no_room_for_the_next():
    history = paused_at([0.1, 0.3, 0.2])
    history.add(TrialResumed(trial_id="t1", epochs=2))
    assert promote_the_best(PROMOTION, history) is None


def test_when_nothing_else_is_left_the_best_goes_on():
    assert next_best(paused_at([0.1, 0.3]), most=1) == "t1"
    assert next_best(history_of({"a": [0.1]}), most=None) is None


def test_with_a_budget_to_spend_the_nearest_to_promotion_goes_on():
    """t1 and t3 went on, so no paused trial is the best of its rung."""
    history = paused_at([0.1, 0.3, 0.2, 0.25])
    for trial_id in ("t1", "t3"):
        history.add(TrialResumed(trial_id=trial_id, epochs=2))
    assert next_best(history, most=1) is None
    assert next_best(history, most=None) == "t2"


def test_of_equals_the_earlier_is_promoted_and_no_more_than_a_third():
    history = paused_at([0.5, 0.5, 0.5])
    assert promote_the_best(PROMOTION, history) == "t0"
    history.add(TrialResumed(trial_id="t0", epochs=2))
    assert promote_the_best(PROMOTION, history) is None


def test_the_highest_rung_is_served_first():
    history = paused_at([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    for trial_id in ("t5", "t4", "t3"):
        history.add(TrialResumed(trial_id=trial_id, epochs=2))
        for epoch in range(3, 7):
            history.add(epoch_of(trial_id, epoch, 0.7))
        history.add(TrialPaused(trial_id=trial_id))
    assert promote_the_best(PROMOTION, history) == "t3"  # of equals, the first to start


def after_two_rungs(later: list[float], *, others: int) -> History:
    """Trials with 0.1, 0.2, ... at the first rung and `later` at the second; and worse `others`."""
    curves = {
        f"t{number}": [0.0, 0.1 * number, 0.0, 0.0, 0.0, value]
        for number, value in enumerate(later, start=1)
    }
    return history_of(curves | {f"o{n}": [0.0, 0.001 * n] for n in range(others)})


@pytest.mark.parametrize(
    ("later", "others", "state"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], 15, "paused"),
        ([0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], 15, "running"),
        ([0.1, 0.8, 0.3, 0.6, 0.5, 0.4, 0.7, 0.2], 15, "running"),  # neither agrees nor disagrees
        ([0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], 15, "paused"),  # of seven it is not told
        ([0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], 9, "paused"),  # nor if not all of a third
        ([0.5] * 8, 15, "paused"),  # nor of equals
    ],
)
def test_a_rung_that_says_nothing_of_the_next_one_is_passed(later, others, state):
    history = history_of_new(after_two_rungs(later, others=others))
    assert judged(PROMOTION, history, "new") == state


def history_of_new(history: History) -> History:
    """The same with a trial that has come to the first rung."""
    history.add(TrialStarted(trial_id="new", seed=0, parameters={}, epochs=10))
    for epoch in (1, 2):
        history.add(epoch_of("new", epoch, 0.0))
    return history


@pytest.mark.parametrize(("order", "state"), [(range(8, 0, -1), "paused"), (range(8), "running")])
def test_a_later_rung_is_passed_only_if_all_before_it_are(order, state):
    """The second one misleads; the first does too, or does not."""
    curves = {
        f"t{n}": [0.0, 0.1 + place, 0.0, 0.0, 0.0, 0.9 - 0.1 * n, 0.0, 0.0, 0.0, 0.1 * n]
        for n, place in enumerate(order, start=1)
    }
    history = history_of(curves | {f"o{n}": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0] for n in range(16)})
    assert judged(PROMOTION, history, "o0") == state


MEDIAN = EarlyStopping(kind="median", min_epochs=2, min_trials=3)


def test_below_the_median_of_the_others_means_a_trial_is_stopped():
    curves = {"a": [0.5] * 4, "b": [0.6] * 4, "c": [0.7] * 4}
    assert judged(MEDIAN, history_of({**curves, "d": [0.1, 0.4]}), "d") == "stopped"
    assert judged(MEDIAN, history_of({**curves, "d": [0.65, 0.1]}), "d") == "running"


def test_a_trial_does_not_count_among_the_others_whose_median_it_is_held_to():
    """0.57 is below the others' median of 0.6, and above the 0.55 of all four."""
    curves = {"a": [0.5] * 4, "b": [0.6] * 4, "c": [0.7] * 4}
    assert judged(MEDIAN, history_of({**curves, "d": [0.1, 0.57]}), "d") == "stopped"
    even = {**curves, "e": [0.8] * 4}
    assert judged(MEDIAN, history_of({**even, "d": [0.1, 0.64]}), "d") == "stopped"
    assert judged(MEDIAN, history_of({**even, "d": [0.1, 0.66]}), "d") == "running"


def test_the_median_stops_none_before_min_epochs_or_with_few_rivals():
    curves = {"a": [0.5] * 4, "b": [0.6] * 4, "c": [0.7] * 4}
    assert judged(MEDIAN, history_of({**curves, "d": [0.1]}), "d") == "running"
    few = {"a": [0.5] * 4, "b": [0.6] * 4}
    assert judged(MEDIAN, history_of({**few, "d": [0.1, 0.1]}), "d") == "running"
