"""Our direct use of HyperOpt's densities against HyperOpt's own suggestions."""

from collections import Counter

import numpy as np
import pytest
from hyperopt import Trials, hp, tpe
from hyperopt.base import JOB_STATE_DONE, STATUS_OK, Domain

from inat_ray.config.distributions import Categorical, Numeric
from inat_ray.config.space import SearchSpace
from inat_ray.search.tpe import GAMMA, Observation, fitted

SPACE = SearchSpace(
    {
        "a": Numeric("linear", low=0.0, high=1.0),
        "b": Categorical(("x", "y", "z"), (0.5, 0.25, 0.25)),
    }
)


def observed(count: int) -> list[Observation]:
    rng = np.random.default_rng(1)
    points = [SPACE.from_units({"a": rng.random(), "b": rng.random()}) for _ in range(count)]
    return [Observation(p, abs(p["a"] - 0.3) + 0.2 * (p["b"] == "y")) for p in points]


def by_hyperopt(told: list[Observation], seed: int) -> dict:
    """HyperOpt's own suggestion after the same observations."""
    values = SPACE.parameters["b"].values
    space = {
        "a": hp.uniform("a", 0, 1),
        "b": hp.pchoice("b", [(0.5, 0), (0.25, 1), (0.25, 2)]),
    }
    trials = Trials()
    for tid, observation in enumerate(told):
        point = observation.parameters
        vals = {"a": [point["a"]], "b": [values.index(point["b"])]}
        misc = {"tid": tid, "cmd": None, "idxs": {n: [tid] for n in vals}, "vals": vals}
        result = {"status": STATUS_OK, "loss": observation.loss}
        [doc] = trials.new_trial_docs([tid], [None], [result], [misc])
        doc["state"] = JOB_STATE_DONE
        trials.insert_trial_doc(doc)
    trials.refresh()
    domain = Domain(lambda _: 0.0, space)
    [doc] = tpe.suggest(
        [len(told)], domain, trials, seed, n_startup_jobs=0, gamma=GAMMA, verbose=False
    )
    return {"a": doc["misc"]["vals"]["a"][0], "b": values[int(doc["misc"]["vals"]["b"][0])]}


@pytest.mark.parametrize("count", [0, 3, 40])
def test_suggestions_are_distributed_as_hyperopts_are(count):
    told = observed(count)
    model = fitted(SPACE, told)
    ours = [model.propose(np.random.default_rng(seed)) for seed in range(300)]
    theirs = [by_hyperopt(told, seed) for seed in range(300)]
    quantiles = [0.1, 0.3, 0.5, 0.7, 0.9]
    apart = np.quantile([p["a"] for p in ours], quantiles) - np.quantile(
        [p["a"] for p in theirs], quantiles
    )
    assert abs(apart).max() < 0.1
    counts = [Counter(p["b"] for p in points) for points in (ours, theirs)]
    assert all(abs(counts[0][value] - counts[1][value]) < 45 for value in "xyz")


def test_the_best_of_some_points_is_where_the_good_ones_are():
    model = fitted(SPACE, observed(40))
    points = [{"a": 0.9, "b": "x"}, {"a": 0.31, "b": "x"}, {"a": 0.31, "b": "y"}]
    assert model.best_of(np.array([SPACE.codes(p) for p in points])) == 1


def test_a_category_of_probability_0_is_never_chosen_whatever_was_observed_of_it():
    never = Categorical(("x", "y", "z"), (0.0, 0.5, 0.5))
    space = SearchSpace({"b": never})
    told = [Observation({"b": b}, loss) for b, loss in (("x", -9.0), ("y", 0.0), ("z", 1.0))]
    for observations in (told, told[1:], []):
        model = fitted(space, observations)
        proposed = [model.propose(np.random.default_rng(seed))["b"] for seed in range(50)]
        assert "x" not in proposed
        codes = np.array([space.codes({"b": b}) for b in "xyz"])
        assert model.best_of(codes) != 0


def test_observations_need_not_have_every_parameter():
    told = [*observed(10), Observation({"b": "z"}, -5.0)]
    assert set(fitted(SPACE, told).propose(np.random.default_rng(0))) == {"a", "b"}
