import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inat_ray.config.experiment import Experiment
from inat_ray.config.space import search_space
from inat_ray.config.trial import trial_experiment
from inat_ray.log.history import History
from inat_ray.log.records import RunResumed, TrialEnded
from inat_ray.models import complexity
from inat_ray.search.agenda import Work, next_work, planned_trials, run_started, search_agenda
from inat_ray.search.curves import CURVE_METRICS, Curve
from inat_ray.search.limits import MOST_IN_A_ROW, Beyond, limit_of
from inat_ray.search.observations import observations
from inat_ray.search.schedulers import SCHEDULERS
from inat_ray.search.simulate import Cluster, Simulation
from inat_ray.search.tpe import Observation, fitted
from tests.search.histories import epoch_of, experiment_of, narrower_than

WIDTHS = {"recipe.lr": {"min": 0.001, "max": 0.1}, "model.dense": {"min": 1, "max": 1000}}
"""A space without an end of points."""


def small(limits) -> Experiment:
    """A small network, searched within limits."""
    tree = {"data": {"image_size": 32}, "model": {"filters": [4] * 5}, "search": {"limits": limits}}
    return Experiment.model_validate(tree)


@settings(max_examples=30, deadline=None)
@given(
    dense=st.integers(1, 999), most=st.integers(10**3, 10**4), macs=st.integers(160_000, 170_000)
)
def test_a_point_is_beyond_if_its_network_has_more_parameters_or_macs(dense, most, macs):
    experiment, point = small({"parameters": most, "macs": macs}), {"model.dense": dense}
    tried = trial_experiment(experiment, parameters=point, seed=0)
    size = complexity.complexity(tried, classes=3)
    is_beyond = size.parameters > most or size.macs > macs
    expected = Beyond(point, size.parameters, size.macs) if is_beyond else None
    assert limit_of(experiment, classes=3)(point) == expected


def test_a_network_is_counted_once_whatever_else_varies(monkeypatch):
    counted = []

    def counting(experiment, *, classes):
        counted.append(experiment.model.dense)
        return complexity.Complexity(1, 1, 10, 10, 10, 10)

    monkeypatch.setattr(complexity, "complexity", counting)
    limit = limit_of(small({"parameters": 5}), classes=3)
    for dropout in (0.1, 0.2, 0.3):
        assert limit({"model.dropout": dropout, "recipe.lr": dropout, "model.dense": 8}) is not None
    assert limit({"model.dense": 9}) is not None
    assert counted == [8, 9]


def test_a_point_that_is_no_experiment_is_left_to_its_trial():
    assert limit_of(small({"parameters": 1}), classes=3)({"model.dense": -1}) is None


def test_without_limits_nothing_is_counted(monkeypatch):
    monkeypatch.setattr(complexity, "complexity", None)
    assert limit_of(small(None), classes=3)({"model.dense": 9}) is None


def run(experiment: Experiment, limit, *, workers: int = 1) -> History:
    """A search simulated on a made-up curve: the narrower, the better."""

    def curve_of(parameters) -> Curve:
        score = 1 / (1 + parameters["model.dense"])
        epochs = experiment.recipe.epochs
        metrics = {name: [score] * epochs for name in CURVE_METRICS}
        return Curve(parameters, 0, metrics, seconds=[1.0] * epochs)

    space = search_space(experiment)
    return Simulation(experiment, space, curve_of, Cluster(workers), limit=limit).run()


SEARCHES = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["random", "bayes", "grid"]),
        "trials": st.integers(1, 12),
        "early_stopping": st.sampled_from(list(SCHEDULERS)).map(lambda kind: {"kind": kind}),
    }
)


@settings(max_examples=40, deadline=None)
@given(SEARCHES, st.integers(9, 40), st.integers(1, 3), st.booleans())
def test_no_search_trains_a_point_beyond_its_limits(search, most, workers, is_finite):
    """And it trains as many as it would without, unless there are not so many within."""
    is_finite = is_finite or search["method"] == "grid"
    parameters = {} if is_finite else {"parameters": WIDTHS}
    limit = narrower_than(most if is_finite else 20 * most)
    experiment = experiment_of(**search, **parameters, limits={"parameters": most})
    history = run(experiment, limit, workers=workers)
    assert not any(limit(trial.parameters) for trial in history.searched)
    assert all(limit(record.parameters) for _, record in history.beyond)
    space = search_space(experiment)
    planned = planned_trials(experiment.search, space)
    within = math.inf if space.grid is None else sum(limit(p) is None for p in space.grid)
    assert len(history.searched) == history.planned_trials == min(planned, within)
    assert history.ended == "trials"
    assert run(experiment, limit, workers=workers) == history


def test_a_grid_goes_on_to_the_next_point():
    experiment = experiment_of(method="grid", limits={"parameters": 1})
    history = run(experiment, narrower_than(16))
    assert [t.parameters["model.dense"] for t in history.searched] == [8, 8, 8]
    assert [t.trial_id for t in history.searched] == ["trial_0000", "trial_0001", "trial_0002"]
    assert [t.seed for t in history.searched] == [0, 1, 2]


def test_a_first_point_beyond_the_limits_leaves_its_place_to_the_next():
    first = [{"recipe.lr": 0.1, "model.dense": dense} for dense in (32, 8)]
    experiment = experiment_of(trials=2, first=first, limits={"parameters": 1})
    history = run(experiment, narrower_than(16))
    assert next(record.parameters for _, record in history.beyond) == first[0]
    assert history.searched[0].parameters == first[1]


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_space_that_is_all_beyond_ends_the_search(method):
    limits = {"parameters": 1}
    finite = experiment_of(method=method, trials=5, limits=limits)
    assert run(finite, narrower_than(0)).ended == "trials"
    endless = experiment_of(method=method, trials=5, limits=limits, parameters=WIDTHS)
    history = run(endless, narrower_than(0))
    assert (history.ended, len(history.beyond)) == ("limits", MOST_IN_A_ROW)


def test_a_search_that_is_extended_goes_on_past_its_limits():
    experiment = experiment_of(method="grid", trials=2, limits={"parameters": 1})
    space, limit = search_space(experiment), narrower_than(16)
    history, agenda = run(experiment, limit), search_agenda(experiment, space, limit)
    history.add(RunResumed(trials=history.planned_trials + 5, extended=True))
    work = next_work(agenda, history, history.add)
    assert isinstance(work, Work)
    assert limit(work.parameters) is None


def told(history: History, experiment: Experiment) -> list[Observation]:
    return observations(history, experiment.search.early_stopping)


def test_tpe_is_told_of_points_beyond_in_the_order_of_suggestion():
    experiment = experiment_of(trials=4, limits={"parameters": 1})
    history = History.of([run_started(experiment, search_space(experiment))])
    order = []
    for number, dense in enumerate([32, 8, 16, 32, 8]):
        point = {"recipe.lr": 0.1 / (number + 1), "model.dense": dense}
        order.append(point)
        if beyond := narrower_than(16)(point):
            history.add(beyond.record())
        else:
            work = Work(f"trial_{number}", "search", 0, point, planned_epochs=9)
            history.add(work.record())
            history.add(epoch_of(work.trial_id, 1, 0.5))
            history.add(TrialEnded(trial_id=work.trial_id, state="stopped"))
    found = told(history, experiment)
    assert [each.parameters for each in found] == order
    assert [math.isinf(each.loss) for each in found] == [True, False, True, True, False]


def test_a_point_beyond_is_never_good_to_tpe_however_many_there_are():
    space = search_space(experiment_of(parameters=WIDTHS))
    within = [Observation({"recipe.lr": 0.01, "model.dense": 10}, loss=1.0)]
    beyond = [Observation({"recipe.lr": 0.01, "model.dense": 900}, loss=math.inf)] * 50
    model = fitted(space, [*within, *beyond])
    codes = [space.codes({"recipe.lr": 0.01, "model.dense": dense}) for dense in (900, 10)]
    assert model.best_of(np.array(codes)) == 1


def test_tpe_learns_to_stay_within():
    """Of 30 suggestions after start-up by TPE, fewer are beyond than of random ones."""
    limit, beyond = narrower_than(200), {}
    for method in ("random", "bayes"):
        experiment = experiment_of(
            method=method, trials=40, limits={"parameters": 1}, parameters=WIDTHS
        )
        beyond[method] = len(run(experiment, limit).beyond)
    assert beyond["bayes"] < 0.5 * beyond["random"]
