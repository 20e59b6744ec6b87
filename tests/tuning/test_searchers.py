import json
import math

import pytest

from inat_ray.config.experiment import Experiment, SearchConfig
from inat_ray.config.space import SearchSpace, search_space
from inat_ray.tuning.run_log import EpochEnded, History, RunStarted, TrialEnded, TrialStarted
from inat_ray.tuning.searchers import (
    observations,
    planned_trials,
    searcher,
    startup_trials,
    suggest_grid,
    suggest_random,
    suggest_tpe,
)

SPACE = {
    "recipe.lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0},
    "model.filters": {"values": [[8] * 5, [16] * 5, [32] * 5]},
    "model.dense": {"min": 8, "max": 64},
    "recipe.augment": {"value": True},
}


@pytest.fixture
def space() -> SearchSpace:
    return search_space(Experiment.model_validate({"search": {"parameters": SPACE}}))


def history_of(results, *, goal: str = "maximize") -> History:
    """A log of trials, each (parameters, accuracies by epoch, state)."""
    history = History()
    metric = "val_accuracy" if goal == "maximize" else "val_loss"
    history.add(
        RunStarted(
            name="t", method="bayes", metric=metric, goal=goal, trials=50, epochs=3, parameters={}
        )
    )
    for number, (parameters, accuracies, state) in enumerate(results):
        trial_id = f"trial_{number:04d}"
        history.add(TrialStarted(trial_id=trial_id, seed=0, parameters=parameters, epochs=3))
        for epoch, accuracy in enumerate(accuracies, start=1):
            history.add(epoch_record(trial_id, epoch, accuracy))
        history.add(TrialEnded(trial_id=trial_id, state=state))
    return history


def epoch_record(trial_id: str, epoch: int, accuracy: float) -> EpochEnded:
    return EpochEnded(
        trial_id=trial_id,
        epoch=epoch,
        train_loss=1.0,
        train_accuracy=accuracy,
        val_loss=1 - accuracy,
        val_accuracy=accuracy,
        val_balanced_accuracy=accuracy,
        lr=0.1,
        seconds=1.0,
        images_per_second=1.0,
    )


def test_a_random_suggestion_depends_on_seed_and_number_alone(space):
    busy = history_of([(suggest_random(space, History(), 0, 0), [0.5], "finished")])
    assert suggest_random(space, busy, 7, 3) == suggest_random(space, History(), 7, 3)
    assert suggest_random(space, busy, 7, 3) != suggest_random(space, busy, 7, 4)
    assert suggest_random(space, busy, 7, 3) != suggest_random(space, busy, 8, 3)


def good(parameters) -> float:
    """Best at a learning rate of 0.01, filters 16, dense 32."""
    return (
        1.0
        - 0.2 * abs(math.log10(parameters["recipe.lr"]) + 2)
        - 0.3 * (parameters["model.filters"] != [16] * 5)
        - 0.003 * abs(parameters["model.dense"] - 32)
    )


def best_of_a_search(space, seed: int, *, suggest) -> float:
    """The best score of 40 suggestions in a row, each made knowing those before it."""
    results = []
    for number in range(40):
        source = suggest_random if number < 12 else suggest
        parameters = source(space, history_of(results), seed, number)
        results.append((parameters, [good(parameters)], "finished"))
    return max(accuracies[0] for _, accuracies, _ in results)


def test_tpe_ends_higher_than_random_on_average(space):
    """Over 16 seeds the means are 0.972 and 0.938; eight of them decide here."""
    by_tpe = [best_of_a_search(space, seed, suggest=suggest_tpe) for seed in range(8)]
    at_random = [best_of_a_search(space, seed, suggest=suggest_random) for seed in range(8)]
    assert sum(by_tpe) / 8 > sum(at_random) / 8 + 0.015


def test_a_tpe_suggestion_is_a_function_of_history_seed_and_number(space):
    shown = [suggest_random(space, History(), 0, n) for n in range(8)]
    history = history_of([(p, [good(p)], "finished") for p in shown])
    assert suggest_tpe(space, history, 0, 8) == suggest_tpe(space, history, 0, 8)
    assert suggest_tpe(space, history, 0, 8) != suggest_tpe(space, history, 1, 8)


def test_tpe_gives_categories_back_as_they_were_written(space):
    shown = [suggest_random(space, History(), 0, n) for n in range(8)]
    history = history_of([(p, [good(p)], "finished") for p in shown])
    for number in range(8, 16):
        proposed = suggest_tpe(space, history, 0, number)
        assert proposed["model.filters"] in SPACE["model.filters"]["values"]
        assert isinstance(proposed["model.filters"], list)
        assert isinstance(proposed["model.dense"], int)
        assert proposed["recipe.augment"] is True


def test_tpe_works_before_anything_is_known(space):
    assert set(suggest_tpe(space, history_of([]), 0, 0)) == set(SPACE)


def test_a_trial_counts_by_its_best_epoch_and_never_by_nan():
    told = observations(
        history_of(
            [
                ({"a": 1}, [0.2, 0.6, 0.5], "stopped"),
                ({"a": 2}, [0.4, float("nan")], "finished"),
                ({"a": 3}, [], "failed"),
                ({"a": 4}, [0.9, float("nan")], "diverged"),
                ({"a": 5}, [], "running"),
            ]
        )
    )
    losses = {parameters["a"]: loss for parameters, loss in told}
    worst = -0.4
    assert losses == {1: -0.6, 2: -0.4, 3: worst, 4: worst}


def test_a_loss_is_minimized_as_it_is():
    told = observations(history_of([({}, [0.2, 0.7], "finished")], goal="minimize"))
    assert told[0][1] == pytest.approx(0.3)


def test_small_sweeps_still_get_to_tpe():
    assert startup_trials(12) == 4
    assert startup_trials(30) == 10
    assert startup_trials(500) == 20


def test_the_bayes_method_is_random_until_start_up_is_over(space):
    suggest = searcher(SearchConfig(method="bayes", trials=12))
    assert suggest(space, history_of([]), 5, 3) == suggest_random(space, History(), 5, 3)
    assert suggest(space, history_of([]), 5, 4) != suggest_random(space, History(), 5, 4)


GRID = {
    "recipe.lr": {"values": [0.1, 0.01]},
    "recipe.augment": {"value": True},
    "seed": {"min": 0, "max": 2},
}


@pytest.fixture
def grid() -> SearchSpace:
    search = {"method": "grid", "parameters": GRID}
    return search_space(Experiment.model_validate({"search": search}))


def test_a_grid_is_walked_with_the_last_parameter_varying_fastest(grid):
    points = [suggest_grid(grid, History(), 0, number) for number in range(grid.points)]
    assert [(p["recipe.lr"], p["seed"]) for p in points] == [
        (0.1, 0), (0.1, 1), (0.1, 2), (0.01, 0), (0.01, 1), (0.01, 2)
    ]  # fmt: skip
    assert [list(p) for p in points] == [list(GRID)] * 6
    assert all(p["recipe.augment"] is True for p in points)


def test_a_point_of_a_grid_can_be_written_as_json(grid):
    assert json.loads(json.dumps(suggest_grid(grid, History(), 0, 4))) == {
        "recipe.lr": 0.01, "recipe.augment": True, "seed": 1
    }  # fmt: skip


def test_the_grid_method_walks_the_grid_whatever_the_seed(grid):
    suggest = searcher(SearchConfig(method="grid"))
    for seed in (0, 7):
        assert suggest(grid, history_of([]), seed, 5) == suggest_grid(grid, History(), 0, 5)


@pytest.mark.parametrize(("trials", "planned"), [(None, 6), (4, 4), (6, 6), (50, 6)])
def test_a_grid_has_all_its_points_or_the_first_of_them(grid, trials, planned):
    assert planned_trials(SearchConfig(method="grid", trials=trials), grid) == planned


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_search_that_does_not_say_how_many_trials_has_ten(space, method):
    assert planned_trials(SearchConfig(method=method), space) == 10
    assert planned_trials(SearchConfig(method=method, trials=50), space) == 50
