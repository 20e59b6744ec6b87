import math
import statistics

from hypothesis import given
from hypothesis import strategies as st

from inat_ray.config.metrics import METRICS
from inat_ray.log.records import LOG_VERSION, TrialResumed
from inat_ray.log.score import STRETCH, score_after, score_of, stretch_at
from tests.log.made_up_logs import RUN, epoch, history_of, started

VALUES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, math.nan]), max_size=18)


def test_the_score_is_the_best_mean_of_five_epochs_in_a_row_and_not_the_best_epoch():
    assert score_after([0.5, 0.5, 0.5, 0.5, 1], epoch=9) == 0.6
    assert score_of([*[0.5] * 8, 1, 0, 0]) == 0.6


def test_of_few_epochs_the_newest_half_counts_so_that_a_good_start_is_not_behind_a_poor_end():
    assert [stretch_at(epoch) for epoch in range(1, 12)] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5]
    assert score_of([0.1, 0.9]) == 0.9  # the newer of two
    assert score_of([0.1, 0.2, 0.9]) == 0.55
    assert score_of([0.9]) > score_of([0.5] * 27)


def test_an_epoch_that_is_no_number_breaks_a_stretch():
    assert score_of([*[0.5] * 7, math.nan, 0.75]) == 0.75
    assert score_of([*[0.5] * 8, math.nan]) == 0.5
    assert score_of([math.nan, math.inf]) is None


@given(VALUES, st.integers(1, STRETCH))
def test_it_is_what_comparing_all_stretches_finds(values, stretch):
    found = []
    for number, value in enumerate(values, start=1):
        near = values[number - stretch_at(number, most=stretch) : number]
        bad = [place for place, each in enumerate(near, start=1) if not math.isfinite(each)]
        if math.isfinite(value):
            found.append(statistics.fmean(near[max(bad, default=0) :]))
    assert score_of(values, stretch=stretch) == max(found, default=None)


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
    scores = [score_of([*map(METRICS[metric].score, curve)]) for curve in curves]
    known = [(score, -number) for number, score in enumerate(scores) if score is not None]
    assert [trial.number for trial in history.leaderboard()] == [
        -place for _, place in sorted(known, reverse=True)
    ]
    assert [history.score_of(trial) for trial in history.searched] == scores
    assert history.best_score == max((score for score, _ in known), default=None)


def test_a_run_of_an_earlier_version_keeps_to_its_best_epochs():
    run = RUN.model_copy(update={"version": LOG_VERSION - 1})
    curves = {"lucky": [0.1, 0.1, 0.9, 0.1], "steady": [0.5, 0.6, 0.6, 0.6]}
    records = [
        record
        for name, curve in curves.items()
        for record in (started(name), *(epoch(name, e, accuracy=v) for e, v in enumerate(curve, 1)))
    ]
    assert history_of(run, *records).leader.trial_id == "lucky"
    newest = history_of(run.model_copy(update={"version": LOG_VERSION}), *records)
    assert newest.leader.trial_id == "steady"
    assert newest.score_value(newest.trials["steady"]) == 0.6
