"""An exponential moving average of the weights that train."""

import copy
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """A model whose trained weights are averages; frozen weights are the model's own.

    State: `module`, and `steps`, () on the device. Batch norm's statistics are the newest. The
    decay grows from 0.1 to its value, min(decay, (1 + n) / (10 + n)) after n steps, so that the
    first random weights do not linger.
    """

    def __init__(self, model: nn.Module, *, decay: float, trained: list[nn.Parameter]) -> None:
        kept = {id(p) for p in trained}
        shared = {id(p): p for p in model.parameters() if id(p) not in kept}
        self.module = copy.deepcopy(model, memo=shared)
        self.steps = torch.zeros((), device=next(model.parameters()).device)
        self._decay = decay
        places = dict(self.module.named_parameters())
        self._averages: list[Tensor] = []
        self._weights: list[Tensor] = []
        for name, weight in model.named_parameters():
            if id(weight) in kept:
                self._averages.append(places[name].requires_grad_(False))
                self._weights.append(weight)
        buffers = dict(self.module.named_buffers())
        self._buffers = [(buffers[name], buffer) for name, buffer in model.named_buffers()]

    @torch.no_grad()
    def update(self) -> None:
        """Averages in the newest weights. Call it after each optimizer step."""
        share = 1 - ((1 + self.steps) / (10 + self.steps)).clamp(max=self._decay)
        change = torch._foreach_sub(self._weights, self._averages)
        torch._foreach_mul_(change, share)
        torch._foreach_add_(self._averages, change)
        self.steps += 1

    @torch.no_grad()
    def take_statistics(self) -> None:
        """Copies the buffers, batch norm's statistics. Call it before an evaluation."""
        for own, newest in self._buffers:
            own.copy_(newest)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": int(self.steps), "averages": list(self._averages)}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the averages. Call it after the model itself was restored."""
        self.steps.fill_(state["steps"])
        for average, saved in zip(self._averages, state["averages"], strict=True):
            average.copy_(saved)
        self.take_statistics()
