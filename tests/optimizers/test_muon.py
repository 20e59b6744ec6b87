import copy

import pytest
import torch
from torch import nn

from inat_ray.optimizers import muon
from inat_ray.optimizers.muon import RMS, Muon, add_orthogonal


def optimizer_of(model: nn.Module, *, lr: float = 0.01, weight_decay: float = 0.0) -> Muon:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    return Muon(
        [
            {"params": matrices, "orthogonal": True, "weight_decay": weight_decay},
            {"params": others, "orthogonal": False, "weight_decay": 0.0},
        ],
        lr=lr,
        momentum=0.95,
    )


def lose(model: nn.Module) -> torch.Tensor:
    """A gradient for every parameter; returns the loss."""
    images = torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8).sin()
    loss = model(images).square().mean()
    loss.backward()
    return loss.detach()


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """The nearest orthogonal matrix, at the scale of its singular values."""
    found = torch.zeros_like(matrix)
    add_orthogonal([found], [matrix], factor=max(matrix.shape) ** -0.5)
    return found


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.GELU(), nn.Flatten(), nn.Linear(216, 4))


@pytest.mark.parametrize("shape", [(16, 16), (8, 200), (200, 8), (1, 5)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    found = left.T @ orthogonal(matrix) @ right.T
    values = found.diagonal()
    assert ((values > 0.6) & (values < 1.3)).all()
    assert (found - torch.diag(values)).abs().max() < 1e-3


def test_matrices_of_many_shapes_step_together_as_each_would_alone(monkeypatch):
    torch.manual_seed(0)
    matrices = [torch.randn(shape) for shape in [(6, 27), (9, 4), (5, 5), (6, 12), (1, 3)]]
    alone = [orthogonal(matrix) for matrix in matrices]
    monkeypatch.setattr(muon, "_together", lambda matrices: [list(range(len(matrices)))])
    together = [torch.zeros_like(matrix) for matrix in matrices]
    add_orthogonal(together, matrices, factor=1.0)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(other, one * max(one.shape) ** 0.5)


def test_a_weight_in_channels_last_takes_the_step_of_a_contiguous_one():
    models = [network(), network().to(memory_format=torch.channels_last)]
    for model in models:
        lose(model)
        optimizer_of(model, weight_decay=0.1).step()
    torch.testing.assert_close(models[0][0].weight, models[1][0].weight)


def test_a_learning_rate_may_be_a_tensor():
    models = [network(), network()]
    for model, lr in zip(models, (0.01, torch.tensor(0.01)), strict=True):
        lose(model)
        optimizer = optimizer_of(model, weight_decay=0.1)
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
    torch.testing.assert_close(models[0][0].weight, models[1][0].weight)


def test_a_first_step_of_a_convolution_is_its_orthogonal_gradient_at_the_scale_of_adamw():
    model = network()
    before = model[0].weight.detach().clone()
    lose(model)
    direction = orthogonal(model[0].weight.grad.flatten(1))
    optimizer_of(model, lr=0.01).step()
    step = (before - model[0].weight.detach()).flatten(1)
    torch.testing.assert_close(step, 0.01 * RMS * 27**0.5 * direction, rtol=1e-3, atol=1e-6)


def test_weight_decay_shrinks_what_has_orthogonal_steps():
    weights = []
    for decay in (0.0, 0.5):
        model = network()
        before = model[0].weight.detach().clone()
        lose(model)
        optimizer_of(model, lr=0.01, weight_decay=decay).step()
        weights.append(model[0].weight.detach())
    torch.testing.assert_close(weights[0] - weights[1], 0.01 * 0.5 * before)


def test_the_other_parameters_take_adamws_steps():
    ours, theirs = network(), network()
    optimizer = torch.optim.AdamW([theirs[0].bias, theirs[3].bias], lr=0.01, weight_decay=0.0)
    lose(ours)
    lose(theirs)
    optimizer_of(ours, lr=0.01).step()
    optimizer.step()
    for place in (0, 3):
        torch.testing.assert_close(ours[place].bias, theirs[place].bias)


def test_the_loss_falls():
    model = network()
    optimizer = optimizer_of(model)
    first = lose(model)
    for _ in range(30):
        optimizer.step()
        optimizer.zero_grad()
        last = lose(model)
    assert last < 0.2 * first


def test_a_restored_optimiser_goes_on_bit_for_bit():
    model = network()
    optimizer = optimizer_of(model)
    for _ in range(3):
        optimizer.zero_grad()
        lose(model)
        optimizer.step()
    twin = copy.deepcopy(model)
    restored = optimizer_of(twin)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each, own in ((model, optimizer), (twin, restored)):
        own.zero_grad()
        lose(each)
        own.step()
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_has_no_gradient_stays_as_it_is():
    model = network()
    before = [p.detach().clone() for p in model[0].parameters()]
    optimizer = optimizer_of(model)
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    lose(model)
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, model[0].parameters(), strict=True))
