import pytest
import torch
from torch import nn

from inat_ray.models.trace import trace
from tests.models.test_layers import Tokens, layers


def test_a_network_without_a_layer_is_refused():
    with pytest.raises(ValueError, match="no convolution or dense layer ran"):
        trace(nn.Sequential(nn.BatchNorm2d(3), nn.Flatten()), torch.zeros(1, 3, 8, 8))


def test_a_trace_leaves_the_network_as_it_was():
    model = Tokens().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    layers(model)
    assert model.drop.training
    assert torch.get_rng_state().equal(state)
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_attention_counts_among_the_multiply_accumulates():
    """17 tokens of 8 numbers, two heads: projections 17 * 8 * 24 and 17 * 8 * 8, attention twice
    17 * 17 * 8."""
    with torch.device("meta"):
        model = Tokens()
        structure = trace(model, torch.empty(1, 3, 32, 32), count_macs=True)
    assert structure.macs == (16 * 8 * 3 * 64, 17 * 8 * 32 + 2 * 17 * 17 * 8, 24)
