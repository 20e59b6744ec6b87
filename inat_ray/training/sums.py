"""Sums that metrics are computed from: exact over batches of any size, and over ranks.

A metric itself, accuracy or F1, is an entry of `config.metrics`."""

import torch
from torch import Tensor

from inat_ray.config.metrics import METRICS, Tally
from inat_ray.training.ranks import ALONE, Ranks


class Sums:
    """Running sums on the device; reading them is the only point where the host waits."""

    def __init__(self, classes: int, device: torch.device) -> None:
        exact = torch.float32 if device.type == "mps" else torch.float64  # it has no other
        self.loss = torch.zeros((), dtype=exact, device=device)
        self.confusion = torch.zeros(classes * classes, dtype=torch.int64, device=device)
        """(truth x classes + prediction), counts."""
        self.own: dict[str, Tensor] = {}
        """By metric; see `EvaluationSums`."""
        self._classes = classes

    def reset(self) -> None:
        """Forgets what was added; the tensors stay where they are, for a captured step."""
        self.loss.zero_()
        self.confusion.zero_()

    def add(self, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch: losses (b,), logits or probabilities (b, classes), labels (b,)."""
        self.loss += losses.detach().sum(dtype=self.loss.dtype)
        places = labels * self._classes + logits.detach().argmax(dim=1)
        self.confusion.index_add_(0, places, torch.ones_like(places))

    def tally(self, ranks: Ranks = ALONE) -> Tally:
        """Adds up over the ranks, and waits for the device."""
        ranks.add_up(self.loss, self.confusion, *self.own.values())
        confusion = self.confusion.view(self._classes, self._classes).cpu()
        return Tally(
            loss=float(self.loss) / int(confusion.sum()),
            confusion=confusion,
            own={name: total.cpu() for name, total in self.own.items()},
        )


class EvaluationSums(Sums):
    """Sums from which every metric can be computed."""

    def __init__(self, classes: int, device: torch.device) -> None:
        super().__init__(classes, device)
        # The sums of no images are zeros of the right shape: a rank may have none.
        nothing = torch.empty(0, classes, device=device), torch.empty(0, device=device).long()
        self._batch_sums = {n: m.batch_sums for n, m in METRICS.items() if m.batch_sums is not None}
        self.own = {name: sums(*nothing) for name, sums in self._batch_sums.items()}

    def add(self, losses: Tensor, probabilities: Tensor, labels: Tensor) -> None:
        super().add(losses, probabilities, labels)
        for name, sums in self._batch_sums.items():
            self.own[name] += sums(probabilities, labels)
