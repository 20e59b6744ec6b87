from inat_ray.config.search import EarlyStopping
from inat_ray.log.history import History
from inat_ray.log.records import RunStarted, TrialEnded, TrialStarted
from inat_ray.search import observations as module
from inat_ray.search.observations import level_of_comparison, observations
from inat_ray.search.tpe import good_ones
from tests.search.histories import epoch_of

NONE = EarlyStopping(kind="none")
ASHA = EarlyStopping(kind="asha", min_epochs=1, reduction_factor=3)


def history_of(*results, goal: str = "maximize") -> History:
    """A log of trials, each (accuracies by epoch, state), told apart by a parameter `a` from 1."""
    history = History()
    metric = "val_accuracy" if goal == "maximize" else "val_loss"
    history.add(
        RunStarted(
            name="t", method="bayes", metric=metric, goal=goal, trials=50, epochs=9, parameters={}
        )
    )
    for number, (accuracies, state) in enumerate(results, start=1):
        trial_id = f"trial_{number:04d}"
        history.add(TrialStarted(trial_id=trial_id, seed=0, parameters={"a": number}, epochs=9))
        for epoch, accuracy in enumerate(accuracies, start=1):
            history.add(epoch_of(trial_id, epoch, accuracy))
        if state != "running":
            history.add(TrialEnded(trial_id=trial_id, state=state))
    return history


def ranking(history: History, stopping: EarlyStopping = NONE) -> list[int]:
    """What TPE is told, best first: values of parameter `a`."""
    told = observations(history, stopping)
    return [o.parameters["a"] for o in sorted(told, key=lambda o: o.loss)]


def test_nothing_is_told_of_nothing():
    assert ranking(history_of()) == []


def test_trials_are_compared_after_the_same_epoch():
    """The second, which both have reached: of two trials both are good ones."""
    history = history_of(([0.2, 0.6, 0.1], "finished"), ([0.4, 0.3], "stopped"))
    assert ranking(history) == [1, 2]


def test_who_was_stopped_ranks_behind_those_who_were_let_through_by_how_far_each_came():
    history = history_of(
        ([0.9], "stopped"),
        ([0.3, 0.3, 0.3], "stopped"),
        ([0.2, 0.4, 0.5], "finished"),
        ([0.8, 0.8], "stopped"),
        ([0.95], "stopped"),
    )
    assert good_ones(5) == 3  # so the second epoch is that of comparison
    assert ranking(history) == [4, 3, 2, 5, 1]


def test_between_rungs_there_is_no_lead():
    """The second has come one epoch farther, but both were compared after the first alone."""
    history = history_of(
        ([0.7] * 3, "stopped"),
        ([0.4] * 2, "running"),
        ([0.5], "stopped"),
        ([0.8] * 3, "stopped"),
    )
    assert ranking(history, ASHA) == [4, 1, 3, 2]


def test_trials_without_a_trustworthy_result_come_last():
    history = history_of(
        ([0.4, 0.9], "diverged"),
        ([], "failed"),
        ([0.6], "finished"),
        ([], "out_of_memory"),
        ([0.5, float("nan")], "finished"),
    )
    assert ranking(history)[:2] == [3, 5]


def test_a_trial_that_has_just_begun_is_no_better_than_any_with_a_score():
    history = history_of(([], "running"), ([0.6, 0.7], "finished"), ([0.4, 0.5], "stopped"))
    assert ranking(history) == [2, 3, 1]
    history.add(epoch_of("trial_0001", 1, 0.1))
    assert ranking(history) == [2, 3, 1]
    history.add(epoch_of("trial_0001", 2, 0.6))
    assert ranking(history) == [2, 1, 3]


def test_under_successive_halving_only_rungs_and_the_last_epoch_are_levels():
    history = history_of(*[([0.1, 0.2], "stopped")] * 5)
    assert level_of_comparison(history, NONE, enough=3) == 2
    assert level_of_comparison(history, ASHA, enough=3) == 1


def test_a_loss_is_minimized_as_it_is():
    """`epoch_of` gives the loss that goes with an accuracy."""
    history = history_of(([0.2], "finished"), ([0.7], "finished"), goal="minimize")
    assert ranking(history) == [2, 1]


def test_of_many_trials_the_best_are_told_and_the_newest(monkeypatch):
    monkeypatch.setattr(module, "MAX_OBSERVATIONS", 5)
    monkeypatch.setattr(module, "LINEAR_FORGETTING", 2)
    history = history_of(*[([0.1 * number], "finished") for number in (1, 8, 3, 9, 5, 2, 6, 4)])
    assert ranking(history) == [4, 2, 7, 8, 6]
