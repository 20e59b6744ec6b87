import statistics

from hypothesis import given
from hypothesis import strategies as st

from inat_ray.log.standings import Standings

SCORES = st.lists(
    st.lists(st.integers(0, 4).map(float), min_size=1, max_size=4), min_size=1, max_size=8
)
"""Scores by trial and epoch; few values, so that there are equals."""


def standings_of(curves: list[list[float]]) -> Standings:
    standings = Standings()
    for trial, curve in enumerate(curves):
        for epoch, score in enumerate(curve, start=1):
            standings.add(trial, epoch, score)
    return standings


@given(SCORES, st.integers(1, 4))
def test_it_says_what_counting_all_scores_says(curves, epoch):
    standings = standings_of(curves)
    there = [curve for curve in curves if len(curve) >= epoch]
    assert standings.count(epoch) == len(there)
    for curve in there:
        better = sum(other[epoch - 1] > curve[epoch - 1] for other in there)
        assert standings.better(epoch, curve[epoch - 1]) == better
    if there:
        means = [statistics.fmean(curve[:epoch]) for curve in there]
        assert abs(standings.median_of_means(epoch) - statistics.median(means)) < 1e-9


@given(SCORES, st.integers(1, 4), st.data())
def test_the_median_of_the_others_is_that_without_a_trial(curves, epoch, data):
    there = [trial for trial, curve in enumerate(curves) if len(curve) >= epoch]
    if len(there) > 1:
        trial = data.draw(st.sampled_from(there))
        others = [statistics.fmean(curves[other][:epoch]) for other in there if other != trial]
        found = standings_of(curves).median_of_means(epoch, without=trial)
        assert abs(found - statistics.median(others)) < 1e-9


@given(SCORES, st.data())
def test_what_is_removed_was_never_there(curves, data):
    trial = data.draw(st.integers(0, len(curves) - 1))
    standings = standings_of(curves)
    for epoch in range(len(curves[trial]), 0, -1):
        standings.remove(trial, epoch)
    rest = [curve for other, curve in enumerate(curves) if other != trial]
    expected = standings_of(rest)
    for epoch in range(1, 5):
        assert standings.count(epoch) == expected.count(epoch)
        assert standings.better(epoch, 2.0) == expected.better(epoch, 2.0)


@given(st.lists(st.integers(0, 3).map(float), min_size=1, max_size=8), st.data())
def test_the_best_paused_trial_is_named_with_its_rank_among_all(scores, data):
    standings = standings_of([[score] for score in scores])
    paused = data.draw(st.sets(st.integers(0, len(scores) - 1), min_size=1))
    for trial in paused:
        standings.pause(trial, 1)
    order = sorted(range(len(scores)), key=lambda trial: (-scores[trial], trial))
    first = next(trial for trial in order if trial in paused)
    assert standings.best_paused(1) == (first, order.index(first))
    assert standings.paused_epochs == [1]
    for trial in paused:
        standings.unpause(trial, 1)
    assert standings.paused_epochs == []
