from hypothesis import given
from hypothesis import strategies as st

from inat_ray.log.costs import COSTS
from inat_ray.log.records import LOG_VERSION
from inat_ray.search.front import front, fronts
from tests.log.made_up_logs import RUN, epoch, history_of, started

SIZE = COSTS["model_parameters"]

POINT = st.tuples(st.none() | st.integers(1, 4), st.none() | st.sampled_from([0.1, 0.5, 0.9]))


def history_of_points(*points, **run):
    """A trial for each (parameters, accuracy); without an accuracy it has no epoch."""
    records = []
    for number, (size, accuracy) in enumerate(points):
        name = f"trial_{number:04d}"
        records.append(started(name))
        if accuracy is not None:
            ended = epoch(name, 1, accuracy=accuracy, loss=accuracy)
            records.append(ended.model_copy(update={"model_parameters": size}))
    return history_of(RUN.model_copy(update=run), *records)


def names(trials) -> list[str]:
    return [trial.trial_id for trial in trials]


def on_front(*points, **run) -> list[int]:
    """The places of those points that are on the front."""
    found = front(history_of_points(*points, **run), SIZE)
    return [trial.number for trial in found]


def test_what_costs_more_must_be_better_and_the_cheapest_is_first():
    assert on_front((30, 0.9), (10, 0.5), (20, 0.4), (40, 0.8), (15, 0.6)) == [1, 4, 0]


def test_one_trial_is_the_whole_front():
    assert on_front((10, 0.5)) == [0]
    assert on_front() == []


def test_equal_trials_are_both_there_and_one_that_ties_at_a_higher_cost_is_not():
    assert on_front((10, 0.5), (10, 0.5), (20, 0.5), (10, 0.4)) == [0, 1]


def test_a_trial_without_a_result_or_a_known_cost_is_not_there_and_beats_nobody():
    assert on_front((None, 0.9), (5, None), (10, 0.5)) == [2]


def test_the_lower_of_two_losses_is_the_better_one():
    minimized = {"metric": "val_loss", "goal": "minimize"}
    assert on_front((10, 0.5), (20, 0.4), (30, 0.6), **minimized) == [0, 1]


def test_a_trial_that_ended_before_it_had_a_whole_stretch_is_not_there():
    """Its score is that of a lucky epoch."""
    records = [started("short"), epoch("short", 1, accuracy=0.9), started("long")]
    records += [epoch("long", number, accuracy=0.6) for number in (1, 2, 3)]
    sized = [
        record.model_copy(update={"model_parameters": 10 if record.trial_id == "short" else 20})
        if record.kind == "epoch_ended"
        else record
        for record in records
    ]
    history = history_of(RUN.model_copy(update={"version": LOG_VERSION}), *sized)
    assert names(front(history, SIZE)) == ["long"]
    history = history_of(RUN.model_copy(update={"version": LOG_VERSION}), *sized[:2])
    assert fronts(history) == []


@given(st.lists(POINT, max_size=8))
def test_it_is_those_that_nobody_dominates(points):
    known = [(n, *p) for n, p in enumerate(points) if None not in p]
    undominated = {
        number
        for number, cost, score in known
        if not any(c <= cost and s >= score and (c, s) != (cost, score) for _, c, s in known)
    }
    found = on_front(*points)
    assert set(found) == undominated
    assert len(found) == len(undominated)


def test_there_is_a_front_for_each_cost_in_which_trials_differ():
    history = history_of_points((10, 0.5), (20, 0.9))
    found = {cost.name: names(trials) for cost, trials in fronts(history)}
    assert found == {"model_parameters": ["trial_0000", "trial_0001"]}
