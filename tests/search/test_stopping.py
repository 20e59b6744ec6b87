import pytest

from inat_ray.config.search import EarlyStopping
from inat_ray.log.history import History
from inat_ray.log.records import (
    EpochEnded,
    RunResumed,
    RunStarted,
    TrialPaused,
    TrialResumed,
    TrialStarted,
)
from inat_ray.search.stopping import (
    is_rung,
    next_best,
    promotable,
    spent_budget,
    state_after_epoch,
    survivors,
)
from tests.search import histories

ASHA = EarlyStopping(kind="asha", min_epochs=2, reduction_factor=3)


def history_of(curves: dict[str, list[float]], *, metric: str = "val_accuracy") -> History:
    history = History()
    goal = "minimize" if metric == "val_loss" else "maximize"
    history.add(
        RunStarted(
            name="t", method="random", metric=metric, goal=goal, trials=9, epochs=10, parameters={}
        )
    )
    for trial_id, curve in curves.items():
        history.add(TrialStarted(trial_id=trial_id, seed=0, parameters={}, epochs=10))
        for epoch, value in enumerate(curve, start=1):
            history.add(epoch_of(trial_id, epoch, value))
    return history


def epoch_of(trial_id: str, epoch: int, value: float) -> EpochEnded:
    return EpochEnded(
        trial_id=trial_id,
        epoch=epoch,
        train_loss=value,
        train_accuracy=0.5,
        val_loss=value,
        val_accuracy=min(value, 1.0),
        val_balanced_accuracy=min(value, 1.0),
        lr=0.1,
        seconds=1.0,
        images_per_second=1.0,
    )


def test_rungs_lie_a_reduction_factor_apart():
    rungs = [e for e in range(1, 60) if is_rung(e, min_epochs=2, reduction_factor=3)]
    assert rungs == [2, 6, 18, 54]


def test_a_third_survives_rounded_down():
    assert [survivors(n, 3) for n in (1, 2, 3, 5, 6, 9)] == [0, 0, 1, 1, 2, 3]


def test_the_best_third_goes_on():
    curves = {f"t{value}": [value, value] for value in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)}
    history = history_of(curves)
    states = [state_after_epoch(ASHA, history, trial_id) for trial_id in curves]
    assert states == ["stopped"] * 4 + ["running"] * 2


def test_the_first_at_a_rung_goes_on():
    assert state_after_epoch(ASHA, history_of({"a": [0.1, 0.1]}), "a") == "running"


def test_a_worse_one_is_stopped_at_the_rung_and_only_there():
    better = [0.9] * 4
    at_rung = history_of({"a": better, "b": [0.1, 0.1]})
    between = history_of({"a": better, "b": [0.1, 0.1, 0.1]})
    assert state_after_epoch(ASHA, at_rung, "b") == "stopped"
    assert state_after_epoch(ASHA, between, "b") == "running"


def test_trials_are_compared_at_the_same_epoch():
    """The rival is better by now, but was worse at the rung."""
    history = history_of({"a": [0.1, 0.1, 0.9], "b": [0.2, 0.2]})
    assert state_after_epoch(ASHA, history, "b") == "running"


def test_where_the_loss_is_minimized_the_lower_survives():
    history = history_of({"a": [0.1, 0.1], "b": [0.9, 0.9]}, metric="val_loss")
    assert state_after_epoch(ASHA, history, "b") == "stopped"


def test_without_early_stopping_every_trial_runs_to_its_end():
    history = history_of({"a": [0.9] * 10, "b": [0.1, 0.1], "c": [0.1] * 10})
    none = EarlyStopping(kind="none")
    assert state_after_epoch(none, history, "b") == "running"
    assert state_after_epoch(none, history, "c") == "finished"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_trial_as_diverged(value):
    assert state_after_epoch(ASHA, history_of({"a": [0.5, value]}), "a") == "diverged"


def test_a_diverged_rival_does_not_count_at_a_rung():
    history = history_of({"a": [float("nan"), float("nan")], "b": [0.1, 0.1]})
    assert state_after_epoch(ASHA, history, "b") == "running"


PROMOTION = EarlyStopping(kind="asha_promotion", min_epochs=2, reduction_factor=3)


def paused_at(values: list[float]) -> History:
    """Trials t0, t1, ... that are paused after two epochs with these values."""
    history = history_of({f"t{number}": [value, value] for number, value in enumerate(values)})
    for number in range(len(values)):
        history.add(TrialPaused(trial_id=f"t{number}"))
    return history


def test_every_trial_pauses_at_a_rung():
    history = history_of({"a": [0.9, 0.9], "b": [0.9]})
    assert state_after_epoch(PROMOTION, history, "a") == "paused"
    assert state_after_epoch(PROMOTION, history, "b") == "running"


def test_of_two_none_is_promoted_and_of_three_the_best():
    assert promotable(PROMOTION, paused_at([0.1, 0.3])) is None
    assert promotable(PROMOTION, paused_at([0.1, 0.3, 0.2])) == "t1"


def test_a_trial_that_was_promoted_makes_no_room_for_the_next():
    history = paused_at([0.1, 0.3, 0.2])
    history.add(TrialResumed(trial_id="t1", epochs=2))
    assert promotable(PROMOTION, history) is None


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
    assert promotable(PROMOTION, history) == "t0"
    history.add(TrialResumed(trial_id="t0", epochs=2))
    assert promotable(PROMOTION, history) is None


def test_the_highest_rung_is_served_first():
    history = paused_at([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    for trial_id in ("t5", "t4", "t3"):
        history.add(TrialResumed(trial_id=trial_id, epochs=2))
        for epoch in range(3, 7):
            history.add(epoch_of(trial_id, epoch, 0.7))
        history.add(TrialPaused(trial_id=trial_id))
    assert promotable(PROMOTION, history) == "t3"  # of equals, the first to start


MEDIAN = EarlyStopping(kind="median", min_epochs=2, min_trials=3)


def test_below_the_median_of_the_others_means_a_trial_is_stopped():
    curves = {"a": [0.5] * 4, "b": [0.6] * 4, "c": [0.7] * 4}
    assert state_after_epoch(MEDIAN, history_of({**curves, "d": [0.1, 0.4]}), "d") == "stopped"
    assert state_after_epoch(MEDIAN, history_of({**curves, "d": [0.65, 0.1]}), "d") == "running"


def test_a_trial_does_not_count_among_the_others_whose_median_it_is_held_to():
    """0.57 is below the others' median of 0.6, and above the 0.55 of all four."""
    curves = {"a": [0.5] * 4, "b": [0.6] * 4, "c": [0.7] * 4}
    assert state_after_epoch(MEDIAN, history_of({**curves, "d": [0.1, 0.57]}), "d") == "stopped"
    even = {**curves, "e": [0.8] * 4}
    assert state_after_epoch(MEDIAN, history_of({**even, "d": [0.1, 0.64]}), "d") == "stopped"
    assert state_after_epoch(MEDIAN, history_of({**even, "d": [0.1, 0.66]}), "d") == "running"


def test_the_median_stops_none_before_min_epochs_or_with_few_rivals():
    curves = {"a": [0.5] * 4, "b": [0.6] * 4, "c": [0.7] * 4}
    assert state_after_epoch(MEDIAN, history_of({**curves, "d": [0.1]}), "d") == "running"
    few = {"a": [0.5] * 4, "b": [0.6] * 4}
    assert state_after_epoch(MEDIAN, history_of({**few, "d": [0.1, 0.1]}), "d") == "running"


def test_a_confirmation_is_not_stopped_early():
    history = history_of({"a": [0.9] * 4})
    start = TrialStarted(trial_id="again", purpose="confirm", seed=1, parameters={}, epochs=10)
    history.add(start)
    for epoch in (1, 2):
        history.add(epoch_of("again", epoch, 0.1))
    assert state_after_epoch(ASHA, history, "again") == "running"


def trained(*, times=(10.0, 20.0), **search) -> tuple:
    """The search's settings, and a history in which a trial has had an epoch at each time."""
    experiment = histories.experiment_of(**search)
    history = histories.begun(experiment, time=0.0)
    history.add(TrialStarted(time=0.0, trial_id="a", seed=0, parameters={}, epochs=9))
    for epoch, time in enumerate(times, start=1):
        history.add(histories.epoch_of("a", epoch, 0.1 * epoch, time=time))
    return experiment.search, history


def test_without_budgets_nothing_is_spent():
    assert spent_budget(*trained()) is None


@pytest.mark.parametrize(("epochs", "spent"), [(3, None), (2, "epochs"), (1, "epochs")])
def test_epochs_are_those_of_all_trials(epochs, spent):
    assert spent_budget(*trained(epochs=epochs)) == spent


@pytest.mark.parametrize(("time", "spent"), [(21, None), ("20s", "time"), ("0.3m", "time")])
def test_time_is_counted_from_the_first_record_to_the_last(time, spent):
    assert spent_budget(*trained(time=time)) == spent


def test_the_time_between_two_processes_does_not_count():
    search, history = trained(time=25)
    history.add(RunResumed(time=1000.0, trials=9))
    assert history.seconds == 20.0
    history.add(histories.epoch_of("a", 3, 0.1, time=1004.0))
    assert spent_budget(search, history) is None
    history.add(histories.epoch_of("a", 4, 0.1, time=1005.0))
    assert spent_budget(search, history) == "time"


@pytest.mark.parametrize(("target", "spent"), [(0.21, None), (0.2, "target")])
def test_the_target_is_reached_by_any_trial_after_any_epoch(target, spent):
    assert spent_budget(*trained(target=target)) == spent


def test_the_target_of_a_loss_is_reached_from_above():
    metric = {"name": "val_loss", "goal": "minimize"}
    assert spent_budget(*trained(target=0.8, metric=metric)) == "target"
    assert spent_budget(*trained(target=0.79, metric=metric)) is None


def test_an_extension_is_counted_in_trials_alone():
    search, history = trained(epochs=1, time=1, target=0.1)
    history.add(RunResumed(time=30.0, trials=12, extended=True))
    assert spent_budget(search, history) is None


def test_before_anything_ran_nothing_is_spent():
    assert spent_budget(histories.experiment_of(target=0.5).search, History()) is None


def test_a_target_that_a_voided_epoch_had_reached_is_not_reached():
    search, history = trained(target=0.2)
    history.add(TrialResumed(trial_id="a", epochs=1))
    assert spent_budget(search, history) is None
