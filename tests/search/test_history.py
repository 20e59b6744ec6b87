from inat_ray.search.history import History
from inat_ray.search.records import RunResumed, TrialEnded, TrialPaused, TrialResumed, TrialStarted
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


def test_bad_ends_are_remembered():
    history = running(0.1)
    history.add(TrialEnded(trial_id="a", state="out_of_memory", error="CUDA out of memory"))
    assert list(history.bad) == ["a"]
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
