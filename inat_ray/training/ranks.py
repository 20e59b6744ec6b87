"""The processes that train one model together, and how they combine their numbers.

Every rank has the same weights and takes its share of each step's batch. Gradients, sums of
metrics and statistics are combined here, by torch.distributed alone.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import RecipeConfig
from inat_ray.models.layers import BatchNorm

ENOUGH_FOR_STATISTICS = 32
"""Images of a worker's step that are enough for batch norm without the other workers' images (Wu &
He, 2018, figure 1: with fewer the error rises)."""


@dataclass(frozen=True)
class Ranks:
    """This process's place among `world_size` processes, whose process group is up."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this rank writes the files that all have in common."""
        return self.rank == 0

    def parallel(self, module: nn.Module, *, may_skip: bool) -> nn.Module:
        """Returns `module` with gradients that are averaged over the ranks in the backward pass.

        It begins with the first rank's weights. Buffers stay each rank's own: see
        `average_statistics`. `may_skip`: whether there may be steps that leave parameters out,
        whose gradients the other ranks would wait for.
        """
        if self.world_size == 1:
            return module
        parallel = DistributedDataParallel(
            module, gradient_as_bucket_view=True, find_unused_parameters=may_skip
        )
        # As an argument it has another name from PyTorch 2.15 on.
        parallel.broadcast_buffers = False
        return parallel

    def mean_loss(self, losses: Tensor, *, images: int) -> Tensor:
        """Returns the loss of a step of `images` images over all ranks; `losses` are this rank's.

        Gradients are averaged over the ranks, whose shares may differ by an image: the factor
        makes the average that over the images.
        """
        return losses.sum() * (self.world_size / images)

    def add_up(self, *tensors: Tensor) -> None:
        """Replaces each tensor by its sum over the ranks."""
        if self.world_size > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def gather(self, tensor: Tensor) -> Tensor:
        """Returns every rank's tensor, (world_size, ...), on each rank; shapes must be equal."""
        if self.world_size == 1:
            return tensor[None]
        parts = [torch.empty_like(tensor) for _ in range(self.world_size)]
        dist.all_gather(parts, tensor)
        return torch.stack(parts)

    def average_statistics(self, model: nn.Module) -> None:
        """Gives every rank the mean of the ranks' running statistics of batch norm.

        They saw different images, and evaluate and save one model.
        """
        for module in model.modules() if self.world_size > 1 else ():
            if isinstance(module, BatchNorm) and module.training:
                assert module.running_mean is not None
                assert module.running_var is not None
                self.add_up(module.running_mean, module.running_var)
                module.running_mean /= self.world_size
                module.running_var /= self.world_size


ALONE = Ranks()


def synchronizes_batch_norm(recipe: RecipeConfig, *, device: torch.device, world_size: int) -> bool:
    """Returns whether batch norm takes its statistics over all workers' images.

    Raises UserError if the recipe asks for it and the device cannot.
    """
    if world_size == 1:
        return False
    if device.type != "cuda":
        if recipe.sync_batch_norm:
            raise UserError(
                "recipe.sync_batch_norm: true: PyTorch synchronizes batch norm on GPUs alone;"
                " false (each worker's own statistics) is allowed here"
            )
        return False
    if recipe.sync_batch_norm is not None:
        return recipe.sync_batch_norm
    return recipe.batch_size // world_size < ENOUGH_FOR_STATISTICS
