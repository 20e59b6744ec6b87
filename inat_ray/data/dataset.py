"""What training sees: the pack, its split, and the training images' statistics."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data.pack import Pack, Supply, open_pack, reopen_pack
from inat_ray.data.split import SUBSETS, Indices, Split, SubsetName, split_pack

Channels = tuple[float, float, float]
"""One value each for red, green and blue."""


@dataclass(frozen=True)
class DataSet:
    """Labeled images in three subsets. Pickles as the pack's name, never as pixels.

    Where it is unpickled the pack is mapped from that node's cache. If the cache lacks it, `supply`
    brings it there, or it is built: once a node, by whichever process is first.
    """

    config: DataConfig
    pack: Pack
    split: Split
    mean: Channels
    """Mean of the training images' pixels, in 0..1."""
    std: Channels
    """Their standard deviation."""
    supply: Supply | None = None

    SUBSETS = SUBSETS

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the labels."""
        return self.pack.classes

    def subset(self, name: SubsetName) -> Indices:
        """Returns indices into the pack, ascending."""
        indices: Indices = getattr(self.split, name)
        return indices

    def with_validation(self, fraction: float) -> Self:
        """Returns the same images, of which another fraction validates.

        Raises UserError if the data have validation images of their own, or as `split_pack`.
        """
        if fraction == self.config.validation_fraction:
            return self
        if "validation" in self.pack.roles:
            raise UserError(
                f"search.final_validation_fraction {fraction:g}: the data have a validation folder,"
                " so there is no fraction of them; null is allowed"
            )
        config = self.config.model_copy(update={"validation_fraction": fraction})
        return replace(self, config=config, **_split_with_statistics(self.pack, config))

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"pack": self.pack.path.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        pack = reopen_pack(state["config"], state["pack"], state["supply"])
        vars(self).update(state, pack=pack)


def open_dataset(config: DataConfig, *, progress: bool = False, build: bool = True) -> DataSet:
    """Opens the data of an experiment; decodes them first if the node has no pack of them.

    Raises UserError if the data cannot be used, or (without `build`) there is no pack of them.
    """
    pack = open_pack(config, progress=progress, build=build)
    return DataSet(config=config, pack=pack, **_split_with_statistics(pack, config))


def _split_with_statistics(pack: Pack, config: DataConfig) -> dict[str, Any]:
    split = split_pack(pack, config)
    mean, std = channel_statistics(pack, split.train)
    return {"split": split, "mean": mean, "std": std}


def channel_statistics(pack: Pack, indices: Indices) -> tuple[Channels, Channels]:
    """Returns mean and standard deviation of some images' pixels, by channel, in 0..1."""
    pixels = len(indices) * pack.images.shape[1] * pack.images.shape[2]
    mean = pack.channel_sums[indices].sum(axis=0) / pixels
    variance = pack.channel_square_sums[indices].sum(axis=0) / pixels - mean**2
    # A single flat color has no spread; division by it must still be possible.
    std = np.sqrt(variance.clip(min=1e-6))
    return tuple(mean.tolist()), tuple(std.tolist())
