import math

import pytest

from inat_ray.log.records import SearchEnded, TrialPicked, TrialStarted
from inat_ray.search.study import seed_is_searched
from inat_ray.search.winner import chosen_trial, final_training, winning_trial
from tests.search.test_study import history_of, rates


def test_the_best_mean_wins_over_the_best_trial():
    history = history_of([(0.1, 0, [0.99]), (0.1, 1, [0.11]), (0.2, 0, [0.59]), (0.2, 1, [0.61])])
    assert rates(history) == [0.2, 0.1]
    assert history.leaderboard()[0].trial_id == "trial_0000"
    assert winning_trial(history).trial_id == "trial_0002"


@pytest.mark.parametrize("lost", [[], [math.nan]])
def test_a_configuration_with_fewer_results_does_not_win_by_one_lucky_seed(lost):
    history = history_of(
        [(0.1, 0, [0.9]), (0.1, 1, lost), (0.2, 0, [0.5]), (0.2, 1, [0.5]), (0.3, 0, [0.1])]
    )
    assert rates(history) == [0.2, 0.1, 0.3]
    assert winning_trial(history).parameters == {"recipe.lr": 0.2, "seed": 0}


def test_the_first_seed_that_has_a_result_is_the_winners():
    history = history_of([(0.1, 0, []), (0.1, 1, [0.5]), (0.1, 2, [0.7])])
    assert winning_trial(history).seed == 1


def test_without_seeds_the_best_trial_wins():
    history = history_of([(0.1, 0, [0.5]), (0.1, 1, [0.9]), (0.2, 2, [0.8])], names=("recipe.lr",))
    assert not seed_is_searched(history)
    assert winning_trial(history).trial_id == "trial_0001"


@pytest.mark.parametrize("names", [("recipe.lr", "seed"), ("recipe.lr",)])
def test_without_a_result_nothing_wins(names):
    assert winning_trial(history_of([(0.1, 0, [])], names=names)) is None


def test_the_kept_model_is_of_the_trial_that_a_person_picked_until_the_search_ends_anew():
    history = history_of([(0.1, 0, [0.5]), (0.1, 1, [0.9])], names=("recipe.lr",))
    winner, other = winning_trial(history), history.trials["trial_0000"]
    assert chosen_trial(history) is winner
    history.add(SearchEnded(reason="trials"))
    history.add(final_start("winner", winner))
    history.add(TrialPicked(trial_id="trial_0000"))
    assert (winning_trial(history), chosen_trial(history)) == (winner, other)
    assert final_training(history) is None
    history.add(final_start("pick_2", other))
    assert final_training(history).trial_id == "pick_2"
    history.add(SearchEnded(reason="trials"))
    assert chosen_trial(history) is winner
    assert final_training(history) is None


def final_start(name: str, trial) -> TrialStarted:
    return TrialStarted(
        trial_id=name, purpose="final", seed=trial.seed, parameters=trial.parameters, epochs=1
    )
