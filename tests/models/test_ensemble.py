import torch
from torch import nn

from inat_ray.models.ensemble import as_one, members_of


def test_the_softmax_of_an_ensemble_is_the_mean_of_its_members_softmaxes():
    torch.manual_seed(0)
    members = [nn.Sequential(nn.Flatten(), nn.Linear(12, 3)) for _ in range(3)]
    images = 10 * torch.randn(5, 3, 2, 2)
    mean = torch.stack([member(images).softmax(dim=1) for member in members]).mean(dim=0)
    torch.testing.assert_close(as_one(members)(images).softmax(dim=1), mean)


def test_one_network_stays_itself():
    network = nn.Linear(2, 2)
    assert as_one([network]) is network
    assert members_of(network) == [network]
    assert members_of(as_one([network, nn.Linear(2, 2)]))[0] is network
