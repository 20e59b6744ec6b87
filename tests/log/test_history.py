import math

from inat_ray.log.history import History
from inat_ray.log.records import RunResumed, TrialEnded, TrialPaused, TrialResumed, TrialStarted
from tests.run.made_up_runs import search_records, started
from tests.search.histories import begun, epoch_of, experiment_of


def running(*accuracies: float) -> History:
    """A history in which trial `a` has had these epochs."""
    history = begun(experiment_of())
    history.add(TrialStarted(trial_id="a", seed=0, parameters={"x": 1}, epochs=9))
    for epoch, accuracy in enumerate(accuracies, start=1):
        history.add(epoch_of("a", epoch, accuracy))
    return history


def test_epochs_are_counted_once_and_those_that_are_repeated_replace_the_earlier():
    history = running(0.1, 0.2, 0.3)
    history.add(TrialEnded(trial_id="a", state="interrupted"))
    history.add(TrialResumed(trial_id="a", epochs=1))
    assert history.epochs_spent == 1
    history.add(epoch_of("a", 2, 0.5))
    assert history.trials["a"].values("val_accuracy") == [0.1, 0.5]
    assert history.standings.scores[2] == {0: 0.5}
    assert history.standings.count(3) == 0
    assert history.best_score == 0.5


def test_what_ran_in_a_process_that_is_gone_is_cut_off():
    history = running(0.1)
    assert list(history.active) == ["a"]
    history.add(RunResumed(trials=9))
    assert list(history.interrupted) == ["a"]
    assert history.trials["a"].state == "interrupted"
    assert not history.active
    assert history.unfinished


def test_a_paused_trial_is_not_active_and_not_cut_off():
    history = running(0.1)
    history.add(TrialPaused(trial_id="a"))
    history.add(RunResumed(trials=9))
    assert not history.active
    assert not history.interrupted
    assert history.standings.paused_epochs == [1]


def test_losses_are_counted_by_interruptions_with_an_error():
    history = running(0.1)
    history.add(TrialEnded(trial_id="a", state="interrupted"))
    history.add(TrialResumed(trial_id="a", epochs=1))
    history.add(TrialEnded(trial_id="a", state="interrupted", error="the process died"))
    assert history.trials["a"].losses == 1


def test_the_error_of_a_trial_is_remembered():
    history = running(0.1)
    history.add(TrialEnded(trial_id="a", state="out_of_memory", error="CUDA out of memory"))
    assert history.trials["a"].state == "out_of_memory"
    assert history.trials["a"].error == "CUDA out of memory"


def test_the_final_training_is_no_part_of_the_search():
    history = running(0.1)
    history.add(
        TrialStarted(trial_id="winner", purpose="final", seed=0, parameters={"x": 1}, epochs=9)
    )
    history.add(epoch_of("winner", 1, 0.9))
    assert history.epochs_spent == 1
    assert [trial.trial_id for trial in history.leaderboard()] == ["a"]
    assert list(history.active) == ["a"]


def test_the_best_score_is_forgotten_with_the_epoch_that_had_it():
    history = running(0.1, 0.9)
    other = TrialStarted(trial_id="b", seed=1, parameters={"x": 2}, epochs=9)
    for record in (other, epoch_of("b", 1, 0.3)):
        history.add(record)
    history.add(TrialEnded(trial_id="a", state="interrupted"))
    history.add(TrialResumed(trial_id="a", epochs=1))
    assert history.best_score == 0.3
    assert [trial.trial_id for trial in history.leaderboard()] == ["b", "a"]
    history.add(TrialEnded(trial_id="b", state="interrupted"))
    history.add(TrialResumed(trial_id="b", epochs=0))
    assert history.best_score == 0.1
    assert [trial.trial_id for trial in history.leaderboard()] == ["a"]


def test_an_epoch_that_is_trained_again_and_is_worse_counts_as_it_is_now():
    history = running(0.1, 0.9)
    history.add(epoch_of("a", 2, 0.2))
    assert history.best_score == 0.2


def test_the_leaderboard_is_in_the_order_of_the_metrics_goal():
    experiment = experiment_of(metric={"name": "val_loss", "goal": "minimize"})
    history = begun(experiment)
    for name, accuracy in (("a", 0.3), ("b", 0.5), ("c", 0.5), ("d", math.nan)):
        history.add(TrialStarted(trial_id=name, seed=0, parameters={}, epochs=9))
        history.add(epoch_of(name, 1, accuracy))
    assert [trial.trial_id for trial in history.leaderboard()] == ["b", "c", "a"]
    assert [history.ranking.rank(number) for number in range(4)] == [3, 1, 2, None]


def test_the_states_of_the_search_are_counted_as_they_change():
    history = running(0.1)
    history.add(TrialPaused(trial_id="a"))
    assert (dict(+history.states), history.trials_over) == ({"paused": 1}, 0)
    history.add(TrialResumed(trial_id="a", epochs=1))
    history.add(TrialEnded(trial_id="a", state="stopped"))
    assert (dict(+history.states), history.trials_over) == ({"stopped": 1}, 1)
    assert history.epochs_saved == 8


def test_a_look_is_of_the_winners_newest_epoch_by_the_order_of_the_log_whatever_clocks_say():
    records = search_records()
    history = History.of(records)
    assert history.look == records[-1]
    history.add(started("winner_2", purpose="final"))
    assert history.look is None
    history.add(records[-1])
    history.add(epoch_of("winner_2", 1, 0.8))
    assert history.look is None
    early = records[-1].model_copy(update={"time": 0.0})
    history.add(early)
    assert history.look == early
    assert len(history.looks) == 3


def test_a_run_is_a_training_once_its_first_record_says_so():
    assert not History().is_training
    assert not History.of(search_records()).is_training
    assert History.of(search_records(method="train")).is_training


def test_the_best_value_of_a_trial_is_that_of_its_best_epoch():
    history = running(0.1, 0.4, math.nan, 0.2)
    assert history.best_value(history.trials["a"]) == 0.4
    failed = running(math.nan)
    assert failed.best_value(failed.trials["a"]) is None
