import math
import statistics

from hypothesis import given
from hypothesis import strategies as st

from inat_ray.config.metrics import METRICS
from inat_ray.log.records import LOG_VERSION, TrialResumed
from inat_ray.log.score import STRETCH, Score, score_of
from tests.log.made_up_logs import RUN, epoch, history_of, started

VALUES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, math.nan]), max_size=12)


def test_the_score_is_the_best_mean_of_five_epochs_in_a_row_and_not_the_best_epoch():
    assert score_of([0, 1, 0, 0.5, 0.5, 0.5, 0.5, 0.5, 0], planned=9) == Score(True, 0.5)


def test_a_training_of_fewer_epochs_has_a_shorter_stretch():
    assert score_of([0.25, 0.75, 0.5], planned=2) == Score(True, 0.625)
    assert score_of([0.25, 0.75, 0.5], planned=1) == Score(True, 0.75)


def test_a_trial_without_a_whole_stretch_stands_behind_those_that_have_one():
    promising, whole = score_of([0.3, 0.9, 0.6], planned=9), score_of([0.1] * 5, planned=9)
    assert promising == Score(False, 0.9)
    assert promising < whole


def test_an_epoch_that_is_no_number_breaks_a_stretch():
    assert score_of([0.5, 0.5, math.nan, 0.75, 0.5], planned=3) == Score(False, 0.75)
    assert score_of([math.nan, math.inf], planned=9) is None


@given(VALUES, st.integers(1, 12), st.integers(1, STRETCH))
def test_it_is_what_comparing_all_stretches_finds(values, planned, stretch):
    wanted, finite = min(stretch, planned), [*map(math.isfinite, values)]
    stretches = [
        statistics.fmean(values[start : start + wanted])
        for start in range(len(values) - wanted + 1)
        if all(finite[start : start + wanted])
    ]
    epochs = [Score(False, value) for value in filter(math.isfinite, values)]
    expected = Score(True, max(stretches)) if stretches else max(epochs, default=None)
    assert score_of(values, planned=planned, stretch=stretch) == expected


@given(
    st.lists(VALUES, min_size=1, max_size=4),
    st.sampled_from(["val_accuracy", "val_loss"]),
    st.integers(0, 6),
)
def test_the_ranking_is_by_the_score_whatever_was_trained_again(curves, metric, again):
    run = {"metric": metric, "goal": METRICS[metric].goal, "version": LOG_VERSION}
    history = history_of(RUN.model_copy(update=run))
    for number, curve in enumerate(curves):
        start = started(f"trial_{number}").model_copy(update={"epochs": 12})
        history.add(start)
        records = [epoch(start.trial_id, e, accuracy=v, loss=v) for e, v in enumerate(curve, 1)]
        for record in records:
            history.add(record)
        kept = min(again, len(curve))
        history.add(TrialResumed(trial_id=start.trial_id, epochs=kept))
        for record in records[kept:]:
            history.add(record)
    scores = {
        number: score_of(map(METRICS[metric].score, curve), planned=12)
        for number, curve in enumerate(curves)
    }
    order = sorted((n for n, s in scores.items() if s), key=lambda n: scores[n], reverse=True)
    assert [trial.number for trial in history.leaderboard()] == order
    assert [history.score_of(trial) for trial in history.searched] == [*scores.values()]
    assert history.best_score == max(filter(None, scores.values()), default=None)


def test_a_run_of_an_earlier_version_keeps_to_its_best_epochs():
    run = RUN.model_copy(update={"version": LOG_VERSION - 1})
    curves = {"lucky": [0.1, 0.9, 0.1], "steady": [0.5, 0.5, 0.5]}
    records = [
        record
        for name, curve in curves.items()
        for record in (started(name), *(epoch(name, e, accuracy=v) for e, v in enumerate(curve, 1)))
    ]
    assert history_of(run, *records).leader.trial_id == "lucky"
    newest = history_of(run.model_copy(update={"version": LOG_VERSION}), *records)
    assert newest.leader.trial_id == "steady"
    assert newest.score_value(newest.trials["steady"]) == 0.5
