"""What training sees: the pack, its split, and the training images' statistics."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from inat_ray.config.experiment import DataConfig
from inat_ray.data.pack import Pack, Supply, open_pack, reopen_pack
from inat_ray.data.split import SUBSETS, Indices, Split, SubsetName, split_pack

Channels = tuple[float, float, float]
"""One value for red, green and blue each."""


@dataclass(frozen=True)
class DataSet:
    """Labelled images in three subsets. Pickles as the pack's name, never as pixels.

    Where it is unpickled the pack is mapped from that node's cache. If the cache lacks it, `supply`
    brings it there, or it is built: once a node, whichever process is first.
    """

    config: DataConfig
    pack: Pack
    split: Split
    mean: Channels
    """Of the training images' pixels, in 0..1."""
    std: Channels
    supply: Supply | None = None

    SUBSETS = SUBSETS

    @property
    def classes(self) -> list[str]:
        """In the order of the labels."""
        return self.pack.classes

    def subset(self, name: SubsetName) -> Indices:
        """Indices into the pack, ascending."""
        indices: Indices = getattr(self.split, name)
        return indices

    def __reduce__(self) -> tuple[Any, ...]:
        name = self.pack.path.name
        return _reopen, (self.config, name, self.split, self.mean, self.std, self.supply)


def open_dataset(config: DataConfig, *, progress: bool = False, build: bool = True) -> DataSet:
    """The data of an experiment; decodes it first where the node has no pack of it.

    Raises UserError where the data cannot be used, or (without `build`) there is no pack of it.
    """
    pack = open_pack(config, progress=progress, build=build)
    split = split_pack(pack, config)
    mean, std = channel_statistics(pack, split.train)
    return DataSet(config=config, pack=pack, split=split, mean=mean, std=std)


def channel_statistics(pack: Pack, indices: Indices) -> tuple[Channels, Channels]:
    """Mean and standard deviation of the pixels of some images, by channel, in 0..1."""
    pixels = len(indices) * pack.images.shape[1] * pack.images.shape[2]
    mean = pack.channel_sums[indices].sum(axis=0) / pixels
    variance = pack.channel_square_sums[indices].sum(axis=0) / pixels - mean**2
    # A single flat colour has no spread; division by it must still be possible.
    std = np.sqrt(variance.clip(min=1e-6))
    return tuple(mean.tolist()), tuple(std.tolist())


def _reopen(
    config: DataConfig,
    name: str,
    split: Split,
    mean: Channels,
    std: Channels,
    supply: Supply | None,
) -> DataSet:
    pack = reopen_pack(config, name, supply)
    return DataSet(config=config, pack=pack, split=split, mean=mean, std=std, supply=supply)
