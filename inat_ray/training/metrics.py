"""Metrics as sums that are divided once: exact over batches of any size, and over ranks."""

from dataclasses import dataclass

import torch
from torch import Tensor

from inat_ray.config.metrics import METRICS


@dataclass(frozen=True)
class Metrics:
    """Means over the examples that were seen."""

    loss: float
    accuracy: float
    balanced_accuracy: float
    """Mean of the classes' recalls; classes without an example do not count."""
    images: int


class Sums:
    """Running sums on the device; reading them is the only point where the host waits."""

    def __init__(self, classes: int, device: torch.device) -> None:
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.confusion = torch.zeros(classes * classes, dtype=torch.int64, device=device)
        """(truth x classes + prediction), counts."""
        self._classes = classes

    def reset(self) -> None:
        """Forgets what was added; the tensors stay where they are, for a captured step."""
        self.loss.zero_()
        self.confusion.zero_()

    def add(self, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch: losses (b,), logits or probabilities (b, classes), labels (b,)."""
        self.loss += losses.detach().sum(dtype=torch.float64)
        places = labels * self._classes + logits.detach().argmax(dim=1)
        self.confusion.index_add_(0, places, torch.ones_like(places))

    def matrix(self) -> Tensor:
        """(truth, prediction), counts, on the CPU; waits for the device."""
        return self.confusion.view(self._classes, self._classes).cpu()

    def metrics(self) -> Metrics:
        """Waits for the device."""
        confusion = self.matrix()
        images = int(confusion.sum())
        loss = float(self.loss) / images
        return Metrics(
            loss=loss,
            accuracy=METRICS["val_accuracy"].compute(loss, confusion),
            balanced_accuracy=METRICS["val_balanced_accuracy"].compute(loss, confusion),
            images=images,
        )
