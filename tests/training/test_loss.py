import numpy as np
import pytest
import torch

from inat_ray.config.experiment import RecipeConfig
from inat_ray.data.batches import Batch
from inat_ray.training.loss import balanced_weights, build_loss

CPU = torch.device("cpu")


def test_balanced_weights_are_inverse_to_frequency_and_one_on_average():
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights = balanced_weights(labels, 3)
    assert (weights * torch.tensor([6, 3, 1])).tolist() == pytest.approx([10 / 3] * 3)
    assert weights[torch.from_numpy(labels)].mean().item() == pytest.approx(1)


def test_a_mixed_batch_is_lost_by_both_labels_shares():
    recipe = RecipeConfig(label_smoothing=0.0)
    loss = build_loss(recipe, labels=np.array([0, 1]), classes=2, device=CPU)
    logits = torch.tensor([[2.0, 0.0]])
    images = torch.zeros(1, 3, 8, 8)

    def lost(label: int) -> torch.Tensor:
        return loss(logits, Batch(images, torch.tensor([label]), total=1))

    mixed = loss(logits, Batch(images, torch.tensor([0]), 1, torch.tensor([1]), share=0.7))
    torch.testing.assert_close(mixed, 0.7 * lost(0) + 0.3 * lost(1))
