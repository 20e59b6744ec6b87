import math

from inat_ray.log.history import History
from inat_ray.log.records import (
    PointBeyond,
    RunResumed,
    TrialEnded,
    TrialPaused,
    TrialPicked,
    TrialResumed,
    TrialStarted,
)
from tests.log.made_up_logs import RUN, ended, epoch, history_of, started
from tests.run.made_up_runs import search_records
from tests.search.histories import begun, epoch_of, experiment_of


def running(*accuracies: float) -> History:
    """A history in which trial `a` has had these epochs."""
    history = begun(experiment_of())
    history.add(TrialStarted(trial_id="a", seed=0, parameters={"x": 1}, epochs=9))
    for number, accuracy in enumerate(accuracies, start=1):
        history.add(epoch_of("a", number, accuracy))
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
    assert history.best_score.value == 0.5


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
    assert history.best_score.value == 0.3
    assert [trial.trial_id for trial in history.leaderboard()] == ["b", "a"]
    history.add(TrialEnded(trial_id="b", state="interrupted"))
    history.add(TrialResumed(trial_id="b", epochs=0))
    assert history.best_score.value == 0.1
    assert [trial.trial_id for trial in history.leaderboard()] == ["a"]


def test_an_epoch_that_is_trained_again_and_is_worse_counts_as_it_is_now():
    history = running(0.1, 0.9)
    history.add(epoch_of("a", 2, 0.2))
    assert history.best_score.value == 0.2


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


def test_a_run_whose_pick_is_not_trained_yet_is_unfinished():
    records = search_records()
    history = History.of(records)
    assert not history.unfinished
    history.add(TrialPicked(trial_id="a"))
    assert (history.unfinished, history.picked, history.look) == (True, history.trials["a"], None)
    for record in (started("pick_2", purpose="final"), ended("pick_2")):
        history.add(record)
    assert not history.unfinished


def test_a_run_is_a_training_once_its_first_record_says_so():
    assert not History().is_training
    assert not History.of(search_records()).is_training
    assert History.of(search_records(method="train")).is_training


def test_the_best_value_of_a_trial_is_that_of_its_best_epoch():
    history = running(0.1, 0.4, math.nan, 0.2)
    assert history.best_value(history.trials["a"]) == 0.4
    failed = running(math.nan)
    assert failed.best_value(failed.trials["a"]) is None


def test_a_later_record_of_the_same_epoch_replaces_the_earlier_one():
    history = history_of(
        RUN, started("a"), epoch("a", 1, accuracy=0.1), epoch("a", 1, accuracy=0.2)
    )
    assert history.trials["a"].values("val_accuracy") == [0.2]


def test_an_epoch_that_is_repeated_drops_those_that_came_after_it():
    history = history_of(
        RUN, started("a"), epoch("a", 1), epoch("a", 2), epoch("a", 3), epoch("a", 2, accuracy=0.9)
    )
    assert [e.epoch for e in history.trials["a"].epochs] == [1, 2]
    assert history.trials["a"].values("val_accuracy") == [0.5, 0.9]


def test_a_trial_runs_until_its_end_is_recorded():
    history = history_of(RUN, started("a"))
    assert history.trials["a"].state == "running"
    history.add(ended("a", "failed", "out of memory"))
    assert (history.trials["a"].state, history.trials["a"].error) == ("failed", "out of memory")


def test_the_best_epoch_is_the_earliest_of_equals_and_a_number():
    trial = history_of(
        RUN,
        started("a"),
        epoch("a", 1, accuracy=0.3, loss=math.nan),
        epoch("a", 2, accuracy=0.8, loss=0.5),
        epoch("a", 3, accuracy=0.8, loss=0.4),
    ).trials["a"]
    best = trial.best("val_accuracy")
    least_loss = trial.best("val_loss")
    assert best is not None
    assert least_loss is not None
    assert (best.epoch, least_loss.epoch) == (2, 3)


def test_where_the_last_epoch_is_kept_it_is_the_last_that_has_a_number():
    start = started("a").model_copy(update={"keeps_last": True})
    found = [
        history_of(RUN, start, *(epoch("a", n, loss=loss) for n, loss in enumerate(losses, 1)))
        for losses in ((0.1, 0.5), (0.1, 0.5, math.nan), (math.nan,))
    ]
    kept = [history.trials["a"].best("val_loss") for history in found]
    assert [each and each.epoch for each in kept] == [2, 2, None]


def test_a_trial_whose_values_are_no_numbers_has_no_best():
    trial = history_of(RUN, started("a"), epoch("a", 1, loss=math.nan)).trials["a"]
    assert trial.best("val_loss") is None


def test_the_leaderboard_has_the_searchs_trials_with_a_result_best_first():
    history = history_of(
        RUN,
        *(started("a"), epoch("a", 1, accuracy=0.2)),
        *(started("b"), epoch("b", 1, accuracy=0.9), epoch("b", 2, accuracy=0.1)),
        *(started("without_an_epoch"), ended("without_an_epoch", "failed")),
        *(started("c"), epoch("c", 1, accuracy=0.2)),
        *(started("winner", purpose="final"), epoch("winner", 1, accuracy=1.0)),
    )
    assert [trial.trial_id for trial in history.leaderboard()] == ["b", "a", "c"]
    assert [t.trial_id for t in history.searched] == ["a", "b", "without_an_epoch", "c"]


def test_a_leaderboard_by_loss_has_the_least_first():
    run = RUN.model_copy(update={"metric": "val_loss", "goal": "minimize"})
    history = history_of(
        run,
        *(started("a"), epoch("a", 1, loss=0.9)),
        *(started("b"), epoch("b", 1, loss=0.3)),
        *(started("c"), epoch("c", 1, loss=math.nan)),
    )
    assert [trial.trial_id for trial in history.leaderboard()] == ["b", "a"]


def test_points_beyond_the_limits_leave_fewer_trials_of_a_finite_space():
    experiment = experiment_of()
    run = begun(experiment).run
    for points, planned in ((9, [9, 8, 7]), (11, [9, 9, 9]), (None, [9, 9, 9])):
        history = History.of([run.model_copy(update={"points": points})])
        found = [history.planned_trials]
        for dense in (8, 16):
            point = {"model.dense": dense}
            history.add(PointBeyond(parameters=point, model_parameters=1, macs=1))
            found.append(history.planned_trials)
            assert history.has_tried(point)
        assert found == planned
        assert (history.suggested, history.searched, history.unfinished) == (2, [], True)


def test_a_new_trial_ends_a_row_of_points_beyond_the_limits():
    history = begun(experiment_of())
    rows = []
    beyond = PointBeyond(parameters={}, model_parameters=1, macs=1)
    for record in (beyond, beyond, TrialStarted(trial_id="a", seed=0, parameters={}, epochs=9)):
        history.add(record)
        rows.append(history.beyond_in_a_row)
    assert rows == [1, 2, 0]
