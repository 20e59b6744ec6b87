import pytest

from inat_ray.config.search import EarlyStopping, SearchConfig
from inat_ray.log.records import RunResumed, TrialResumed, TrialStarted
from inat_ray.search.stopping import is_late, kept_back, spent_budget, state_after_epoch
from tests.search import histories

ASHA = SearchConfig(early_stopping=EarlyStopping(kind="asha", min_epochs=2, reduction_factor=3))


def test_without_early_stopping_every_trial_runs_to_its_end():
    history = histories.history_of_curves({"a": [0.9] * 10, "b": [0.1, 0.1], "c": [0.1] * 10})
    none = SearchConfig(early_stopping=EarlyStopping(kind="none"))
    assert state_after_epoch(none, history, "b") == "running"
    assert state_after_epoch(none, history, "c") == "finished"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_trial_as_diverged(value):
    assert (
        state_after_epoch(ASHA, histories.history_of_curves({"a": [0.5, value]}), "a") == "diverged"
    )


def test_a_confirmation_is_not_stopped_early():
    history = histories.history_of_curves({"a": [0.9] * 4})
    start = TrialStarted(trial_id="again", purpose="confirm", seed=1, parameters={}, epochs=10)
    history.add(start)
    for epoch in (1, 2):
        history.add(histories.epoch_of_value("again", epoch, 0.1))
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
    experiment = histories.experiment_of(target=0.5)
    assert spent_budget(experiment.search, histories.begun(experiment)) is None


def test_a_target_that_a_voided_epoch_had_reached_is_not_reached():
    search, history = trained(target=0.2)
    history.add(TrialResumed(trial_id="a", epochs=1))
    assert spent_budget(search, history) is None


def test_a_time_for_the_whole_run_leaves_the_winner_its_own():
    # An epoch takes a second, and another one passes before the next, at least: the winner's
    # training is kept nine of them and one more.
    times = (30.0, 32.0, 39.0)
    for time, spent in ((60, None), (59, "time")):
        search, history = trained(times=times, time=time, time_covers="run")
        assert spent_budget(search, history) == spent
        assert spent_budget(search.model_copy(update={"time_covers": "search"}), history) is None


def test_a_time_for_the_whole_run_leaves_the_confirmation_its_rounds():
    search, history = trained(times=(30.0, 32.0, 34.0), time_covers="run", time=1000)
    assert kept_back(search, history) == 20
    search, history = trained(
        times=(30.0, 32.0, 34.0), time_covers="run", time=1000, confirm={"top": 5, "seeds": 3}
    )
    assert kept_back(search, history) == 20 * (1 + 5 + 4)
    history.add(TrialStarted(time=34.0, trial_id="b", seed=0, parameters={}, epochs=9))
    assert kept_back(search, history) == 20 * (1 + 3 + 2)


def test_a_winner_that_trains_on_more_images_is_left_more_time():
    search, history = trained(
        times=(30.0, 32.0, 34.0), time_covers="run", time=72, final_validation_fraction=0.05
    )
    assert kept_back(search, history) == 20 * 1.25
    assert is_late(search, history)  # 34, 20 and 25 s of 75.6
    assert not is_late(search.model_copy(update={"final_validation_fraction": None}), history)


def test_after_one_epoch_nothing_is_known_of_what_is_to_be_kept_back():
    search, history = trained(times=(50.0,), time=60, time_covers="run")
    assert spent_budget(search, history) is None


def test_another_training_of_a_confirmation_is_late_if_it_and_the_winners_end_after_the_time():
    for time, late in ((71, False), (70, True)):  # 34 seconds, two trainings of 20, and 5 % more
        search, history = trained(times=(30.0, 32.0, 34.0), time=time, time_covers="run")
        assert is_late(search, history) is late
        assert not is_late(search.model_copy(update={"time_covers": "search"}), history)
    assert not is_late(*trained(times=(30.0, 32.0, 34.0), time_covers="run"))
