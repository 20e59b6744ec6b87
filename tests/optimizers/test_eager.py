import torch
import torch._compile

from inat_ray.optimizers.eager import without_compiler


def test_a_pytorch_with_other_workings_steps_as_it_always_did(monkeypatch):
    monkeypatch.setattr(torch._compile, "_disable_dynamo", lambda function: function)
    without_compiler.__wrapped__()
    monkeypatch.delattr(torch._compile, "_disable_dynamo")
    without_compiler.__wrapped__()
    weight = torch.ones(1, requires_grad=True)
    weight.sum().backward()
    torch.optim.SGD([weight], lr=0.5).step()
    assert weight.item() == 0.5
