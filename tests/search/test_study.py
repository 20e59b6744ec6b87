import math

import pytest

from inat_ray.log.history import History
from inat_ray.log.records import EpochEnded, RunStarted, TrialEnded, TrialStarted
from inat_ray.search.study import (
    Configuration,
    configurations,
    standard_error,
    told_apart,
)


def history_of(trials, *, metric: str = "val_accuracy", names=("recipe.lr", "seed")) -> History:
    """Of trials (learning rate, seed, values of the metric by epoch), in order of start."""
    goal = "minimize" if metric == "val_loss" else "maximize"
    history = History()
    history.add(
        RunStarted(
            name="t", method="grid", metric=metric, goal=goal, trials=len(trials), epochs=3,
            parameters=dict.fromkeys(names, "number"),
        )
    )  # fmt: skip
    for number, (lr, seed, values) in enumerate(trials):
        trial_id = f"trial_{number:04d}"
        parameters = {name: {"recipe.lr": lr, "seed": seed}[name] for name in names}
        history.add(TrialStarted(trial_id=trial_id, seed=seed, parameters=parameters, epochs=3))
        for epoch, value in enumerate(values, start=1):
            history.add(epoch_record(trial_id, epoch, {metric: value}))
        history.add(TrialEnded(trial_id=trial_id, state="finished" if values else "failed"))
    return history


def epoch_record(trial_id: str, epoch: int, values: dict[str, float]) -> EpochEnded:
    usual = {"val_loss": 1.0, "val_accuracy": 0.5, "val_balanced_accuracy": 0.5}
    return EpochEnded(
        trial_id=trial_id, epoch=epoch, train_loss=1.0, train_accuracy=0.5, lr=0.1,
        seconds=10.0 if epoch == 1 else 2.0, images_per_second=100.0, **(usual | values),
    )  # fmt: skip


def configuration(*scores: float) -> Configuration:
    [found] = configurations(history_of([(0.1, s, [score]) for s, score in enumerate(scores)]))
    return found


def rates(history: History) -> list[float]:
    return [c.parameters["recipe.lr"] for c in configurations(history)]


def test_trials_that_differ_in_seed_alone_are_one_configuration():
    history = history_of(
        [(0.1, 0, [0.5]), (0.2, 0, [0.1]), (0.1, 1, [0.7]), (0.2, 1, [0.2]), (0.1, 2, [0.9])]
    )
    best = configurations(history)[0]
    assert best.parameters == {"recipe.lr": 0.1}
    assert [trial.seed for trial in best.trials] == [0, 1, 2]
    assert (best.n, best.mean, best.sd) == (3, pytest.approx(0.7), pytest.approx(0.2))


def test_a_trial_counts_by_its_best_epoch():
    assert configurations(history_of([(0.1, 0, [0.2, 0.6, 0.4])]))[0].scores == [0.6]


def test_one_trial_has_no_standard_deviation():
    assert configuration(0.5).sd is None


def test_seconds_an_epoch_are_not_those_of_the_first_which_warms_up():
    history = history_of([(0.1, seed, [0.1, 0.2, 0.3]) for seed in (0, 1)])
    assert configurations(history)[0].seconds_per_epoch == 2.0


def test_the_smallest_mean_wins_where_a_loss_is_searched():
    history = history_of([(0.1, 0, [0.8]), (0.2, 0, [0.3])], metric="val_loss")
    assert rates(history) == [0.2, 0.1]


def test_a_point_drawn_twice_counts_once():
    history = history_of([(0.1, 0, [0.9]), (0.1, 0, [0.8]), (0.1, 1, [0.5])])
    assert configurations(history)[0].scores == [0.9, 0.5]


def test_the_winners_own_training_belongs_to_no_configuration():
    history = history_of([(0.1, 0, [0.5])])
    history.add(
        TrialStarted(
            trial_id="winner", purpose="final", seed=1,
            parameters={"recipe.lr": 0.1, "seed": 1}, epochs=3,
        )
    )  # fmt: skip
    history.add(epoch_record("winner", 1, {"val_accuracy": 0.9}))
    assert configurations(history)[0].n == 1


def test_the_standard_error_of_a_difference_is_that_of_welchs_test():
    """sd 0.02 of n = 4, and sd 0.1 of n = 2: sqrt(0.0004 / 4 + 0.01 / 2)."""
    a = configuration(0.48, 0.48, 0.48, 0.52)
    b = configuration(0.5 - 0.1 / math.sqrt(2), 0.5 + 0.1 / math.sqrt(2))
    assert standard_error(a, b) == pytest.approx(math.sqrt(0.0004 / 4 + 0.01 / 2))


def test_means_are_told_apart_beyond_two_standard_errors():
    """Both have sd 0.01 and n = 2, so a difference has a standard error of 0.01."""
    spread = 0.01 / math.sqrt(2)
    a = configuration(0.5 - spread, 0.5 + spread)
    for mean, apart in ((0.519, False), (0.521, True), (0.481, False), (0.479, True)):
        assert told_apart(a, configuration(mean - spread, mean + spread)) is apart


def test_one_trial_is_never_told_apart():
    assert not told_apart(configuration(0.1), configuration(0.9, 0.9))


def test_equal_means_are_not_told_apart_though_nothing_varies():
    assert not told_apart(configuration(0.5, 0.5), configuration(0.5, 0.5))
