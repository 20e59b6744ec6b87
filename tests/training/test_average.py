import pytest
import torch
from torch import nn

from inat_ray.training.average import WeightAverage


@pytest.fixture
def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))


def test_the_average_follows_its_formula(model):
    """min(decay, (1 + n) / (10 + n)) after n steps."""
    weight = model[2].weight
    average = WeightAverage(model, decay=0.15, trained=list(model.parameters()))
    expected = weight.detach().clone()
    for n in range(4):
        with torch.no_grad():
            weight.add_(1.0)
        average.update()
        decay = min(0.15, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * weight.detach()
        torch.testing.assert_close(average.module[2].weight.detach(), expected)


def test_frozen_weights_are_the_models_own_and_trained_ones_are_not(model):
    average = WeightAverage(model, decay=0.9, trained=list(model[2].parameters()))
    assert average.module[0].weight is model[0].weight
    assert average.module[2].weight is not model[2].weight


def test_statistics_are_the_newest_once_they_are_taken(model):
    average = WeightAverage(model, decay=0.9, trained=list(model.parameters()))
    model(torch.randn(8, 2))
    assert not average.module[1].running_mean.equal(model[1].running_mean)
    average.take_statistics()
    assert average.module[1].running_mean.equal(model[1].running_mean)


def test_a_restored_average_goes_on_as_the_one_it_was(model):
    average = WeightAverage(model, decay=0.9, trained=list(model.parameters()))
    average.update()
    saved = average.state_dict()
    again = WeightAverage(model, decay=0.9, trained=list(model.parameters()))
    again.load_state_dict(saved)
    with torch.no_grad():
        model[0].weight.mul_(2)
    average.update()
    again.update()
    for one, other in zip(average.module.parameters(), again.module.parameters(), strict=True):
        assert one.equal(other)
