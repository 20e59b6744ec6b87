import numpy as np
import pytest

from inat_ray.log.history import History
from inat_ray.log.records import TrialEnded
from inat_ray.search.telling import share_explained, telling_parameters
from tests.made_up_sweep import STARTED, epoch_ended, renamed

KINDS = {"noise": "number", "same": "string", "kind": "string", "rate": "number", "seed": "number"}


@pytest.fixture
def search(sweep):
    """A search whose results hang on the rate, in which middle ones are best, and on the kind."""

    def told(trials: int) -> History:
        history = History.of([sweep[0].model_copy(update={"parameters": KINDS})])
        for n, (noise, rate) in enumerate(np.random.default_rng(0).random((trials, 2)).tolist()):
            point = {"noise": noise, "same": "a", "kind": "ab"[n % 2], "rate": rate, "seed": n}
            start = renamed(sweep[1:2], f"t{n}", parameters=point)[0]
            accuracy = 0.5 - (rate - 0.5) ** 2 + 0.05 * (n % 2)
            epoch = epoch_ended(f"t{n}", 1, time=STARTED, val_accuracy=accuracy)
            for record in (start, epoch):
                history.add(record)
        return history

    return told


def test_what_tells_most_is_first_and_what_is_the_same_in_all_is_left_out(search):
    assert telling_parameters(search(64)) == ["rate", "kind", "noise"]


def test_of_few_trials_the_order_is_the_experiments_behind_the_learning_rate(search, sweep):
    assert telling_parameters(search(1)) == ["noise", "same", "kind", "rate"]
    assert telling_parameters(search(7)) == ["noise", "kind", "rate"]
    assert telling_parameters(History.of(sweep))[0] == "recipe.lr"


def test_a_table_that_is_drawn_again_keeps_its_order_until_twice_as_many_are_over(search):
    history = search(40)
    orders = []
    for number in range(40):
        end = TrialEnded(time=STARTED, trial_id=f"t{number}", state="finished")
        history.add(end)
        orders.append(telling_parameters(history, steady=True))
    changes = [number + 1 for number in range(1, 40) if orders[number] != orders[number - 1]]
    assert set(changes) <= {8, 16, 32}
    assert orders[-1] == ["rate", "kind", "noise"]


def test_a_parameter_of_some_trials_tells_no_more_than_their_share():
    points = [({"a": n % 2, **({"b": n % 2} if n < 5 else {})}, float(n % 2)) for n in range(20)]
    assert share_explained(points, "a") == 1
    assert share_explained(points, "b") == pytest.approx(0.25)


def test_noise_explains_nothing_in_the_mean():
    rng = np.random.default_rng(1)
    found = [
        share_explained([({"a": float(x)}, float(y)) for x, y in rng.random((40, 2))], "a")
        for _ in range(100)
    ]
    assert abs(np.mean(found)) < 0.03
