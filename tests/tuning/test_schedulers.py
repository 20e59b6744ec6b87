import pytest

from inat_ray.config.experiment import EarlyStopping
from inat_ray.tuning.run_log import EpochEnded, History, RunStarted, TrialStarted
from inat_ray.tuning.schedulers import is_in_top, is_rung, state_after_epoch

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
            history.add(
                EpochEnded(
                    trial_id=trial_id,
                    epoch=epoch,
                    train_loss=value,
                    train_accuracy=0.5,
                    val_loss=value,
                    val_accuracy=value,
                    val_balanced_accuracy=value,
                    lr=0.1,
                    seconds=1.0,
                    images_per_second=1.0,
                )
            )
    return history


def test_rungs_lie_a_reduction_factor_apart():
    rungs = [e for e in range(1, 60) if is_rung(e, min_epochs=2, reduction_factor=3)]
    assert rungs == [2, 6, 18, 54]


def test_the_best_third_survives():
    peers = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    survivors = [p for p in peers if is_in_top(p, peers, reduction_factor=3)]
    assert survivors == [0.5, 0.6]


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
