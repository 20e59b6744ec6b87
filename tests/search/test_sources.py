import numpy as np
import pytest

from inat_ray.config.search import EarlyStopping
from inat_ray.config.space import SearchSpace, search_space
from inat_ray.log.history import History
from inat_ray.log.records import TrialEnded, TrialKnown, TrialStarted
from inat_ray.search import sources as module
from inat_ray.search.sources import sources, thinned, told_by_sources
from inat_ray.search.tpe import Observation
from tests.search.histories import begun, epoch_of, experiment_of

NONE = EarlyStopping(kind="none")
PARAMETERS = {
    "recipe.lr": {"distribution": "log_uniform_values", "min": 0.001, "max": 0.1},
    "model.dense": {"values": [8, 16, 32]},
}


@pytest.fixture
def space() -> SearchSpace:
    return search_space(experiment_of(method="bayes", parameters=PARAMETERS))


def points(count: int, seed: int) -> list[dict]:
    rng = np.random.default_rng(seed)
    widths = [8, 16, 32]
    return [
        {"recipe.lr": float(10 ** rng.uniform(-3, -1)), "model.dense": int(rng.choice(widths))}
        for _ in range(count)
    ]


def score(point) -> float:
    """The best rate is 0.01; the wider, the better."""
    return 0.8 - 0.2 * abs(np.log10(point["recipe.lr"]) + 2) + point["model.dense"] / 320


def history_of(own: int, **of_sources) -> History:
    """A search with so many trials, and sources by name: the score of their trials."""
    history = begun(experiment_of(method="bayes", parameters=PARAMETERS))
    for seed, (name, scored) in enumerate(of_sources.items(), start=1):
        for number, point in enumerate(points(30, seed)):
            history.add(
                TrialKnown(
                    source=f"runs/{name} trial_{number:04d}",
                    parameters=point,
                    values=[0.1, scored(point)],
                    state="finished",
                )
            )
    for number, point in enumerate(points(own, 0)):
        name = f"trial_{number:04d}"
        history.add(TrialStarted(trial_id=name, seed=0, parameters=point, epochs=1))
        history.add(epoch_of(name, 1, score(point)))
        history.add(TrialEnded(trial_id=name, state="finished"))
    return history


def luck(point) -> float:
    return float(np.random.default_rng(int(1e9 * point["recipe.lr"])).random())


def test_a_source_is_believed_until_there_are_results_to_judge_it_by(space):
    found = sources(space, history_of(module.FEW - 1, luck=luck), NONE)
    assert [(s.name, len(s.trials), s.agreement) for s in found] == [("runs/luck", 30, None)]
    assert found[0].is_believed


def test_a_source_whose_order_is_that_of_the_results_is_believed_and_others_are_not(space):
    """Whatever its scale: those of another data set may all be lower."""
    ways = {"relative": lambda p: score(p) / 5, "luck": luck, "contrary": lambda p: 1 - score(p)}
    history = history_of(20, **ways)
    found = {s.name: s for s in sources(space, history, NONE)}
    assert [s.is_believed for s in found.values()] == [True, False, False]
    assert found["runs/relative"].agreement > 0.8
    assert found["runs/contrary"].agreement < -0.8
    assert len(told_by_sources(space, history, NONE)) == 30


def test_a_source_is_left_once_the_results_say_more_of_each_other_than_it_does(space):
    def rough(point) -> float:
        return score(point) + 0.2 * luck(point)

    (found,) = sources(space, history_of(60, rough=rough), NONE)
    assert 0.5 < found.agreement < found.own
    assert not found.is_believed


def test_a_source_that_was_left_can_come_back(space):
    """The agreement is that of all results, whatever it was before."""
    history = history_of(20, relative=score)
    sources(space, history, NONE)
    for number, point in enumerate(points(60, 9), start=20):
        name = f"trial_{number:04d}"
        history.add(TrialStarted(trial_id=name, seed=0, parameters=point, epochs=1))
        history.add(epoch_of(name, 1, 0.7 - score(point) / 2))
    assert not sources(space, history, NONE)[0].is_believed


def test_known_trials_are_ranked_within_their_source_by_the_epoch_that_enough_have_reached(space):
    history = begun(experiment_of(method="bayes", parameters=PARAMETERS))
    results = [([0.1, 0.9], "finished"), ([0.8], "stopped"), ([0.3, 0.5], "finished")]
    results += [([0.1, float("nan")], "diverged"), ([], "running")]
    for number, (values, state) in enumerate(results):
        point = {"recipe.lr": 0.01, "model.dense": 8}
        history.add(TrialKnown(source=f"x {number}", parameters=point, values=values, state=state))
    losses = [o.loss for o in sources(space, history, NONE)[0].trials]
    assert np.argsort(losses).tolist() == [0, 2, 1, 4, 3]


def test_many_sources_share_the_place_of_one(space, monkeypatch):
    monkeypatch.setattr(module, "MAX_OBSERVATIONS", 20)
    history = history_of(0, one=score, two=score)
    assert len(told_by_sources(space, history, NONE)) == 20


def test_of_too_many_trials_the_best_is_told_and_every_nth_behind_it():
    trials = [Observation({}, loss) for loss in (0.5, 0.1, 0.9, 0.3, 0.7)]
    assert [o.loss for o in thinned(trials, most=3)] == [0.1, 0.5, 0.9]


def test_a_point_that_lacks_a_parameter_is_like_others_that_lack_it(space):
    known = [
        Observation({"recipe.lr": 0.01}, 0.1),
        Observation({"recipe.lr": 0.01, "model.dense": 8}, 0.9),
    ]
    asked = [
        Observation({"recipe.lr": 0.01}, 0.0),
        Observation({"recipe.lr": 0.01, "model.dense": 8}, 0.0),
    ]
    without, having = module.expected(space, known, asked)
    assert without < having
