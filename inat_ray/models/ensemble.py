"""Several networks as one: the mean of their probabilities."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Images to logits whose softmax is the mean of the members' softmaxes.

    Its members all take the same images (n, 3, s, s) and give logits (n, classes).
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        logs = [member(images).float().log_softmax(dim=1) for member in self.members]
        return torch.stack(logs).logsumexp(dim=0) - math.log(len(logs))


def as_one(networks: Iterable[nn.Module]) -> nn.Module:
    """Returns the mean of the networks; of a single one, the network itself."""
    found = list(networks)
    return found[0] if len(found) == 1 else Ensemble(found)


def members_of(network: nn.Module) -> list[nn.Module]:
    """Returns the networks that one is the mean of."""
    return [*network.members] if isinstance(network, Ensemble) else [network]
