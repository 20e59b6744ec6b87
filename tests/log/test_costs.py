import pytest

from inat_ray.log.costs import COSTS, costs_of, telling_costs
from tests.log.made_up_logs import RUN, epoch, history_of, started


def trial_of(*epochs, trial_id="a"):
    """A trial with these numbers of its epochs."""
    records = [
        epoch(trial_id, number).model_copy(update=values)
        for number, values in enumerate(epochs, start=1)
    ]
    return history_of(RUN, started(trial_id), *records).trials[trial_id]


def test_a_trial_costs_what_its_epochs_say():
    size = {"model_parameters": 4_650_000, "macs": 390_000_000}
    trial = trial_of(
        size | {"images_per_second": 1.0, "peak_memory": 5},
        size | {"images_per_second": 500.0, "peak_memory": 9},
        size | {"images_per_second": 250.0, "peak_memory": 7},
        size | {"images_per_second": 1000.0},
    )
    assert costs_of(trial) == size | {"peak_memory": 9, "ms_per_image": 2.0}


def test_the_only_epoch_is_not_left_out_as_a_warm_up():
    assert costs_of(trial_of({"images_per_second": 500.0})) == {"ms_per_image": 2.0}


@pytest.mark.parametrize("epochs", [[], [{"images_per_second": 0.0}]])
def test_what_a_log_does_not_say_is_no_cost(epochs):
    assert costs_of(trial_of(*epochs)) == {}


def test_the_telling_costs_are_those_in_which_trials_differ():
    same = {"model_parameters": 10}
    one, other = trial_of(same | {"macs": 1}), trial_of(same | {"macs": 2})
    assert telling_costs([one, other]) == [COSTS["macs"]]
    assert telling_costs([one]) == []
