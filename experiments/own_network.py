"""A network of one's own: depthwise convolutions with a shortcut around each (`own_network.yaml`).

inat_ray calls `TinyNet` with the number of classes and with `model.args`, and gives it normalized
images (n, 3, s, s). That it has a part called `head` lets strategies of freezing speak of it.
"""

from torch import Tensor, nn


class Block(nn.Module):
    """Each channel sees its surroundings, then each pixel mixes its channels."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(
            channels, channels, kernel_size, padding=kernel_size // 2, groups=channels
        )
        self.mix = nn.Conv2d(channels, channels, 1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)])
        self.activation = nn.GELU()

    def forward(self, maps: Tensor) -> Tensor:
        maps = maps + self.norms[0](self.activation(self.spatial(maps)))
        return self.norms[1](self.activation(self.mix(maps)))


class TinyNet(nn.Module):
    """A ConvMixer (Trockman and Kolter, 2022): patches, and blocks of one width."""

    def __init__(self, classes: int, width: int = 32, depth: int = 4, kernel_size: int = 5) -> None:
        super().__init__()
        self.patches = nn.Sequential(nn.Conv2d(3, width, 2, stride=2), nn.BatchNorm2d(width))
        self.blocks = nn.Sequential(*(Block(width, kernel_size) for _ in range(depth)))
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.blocks(self.patches(images))
        return self.head(maps.mean(dim=(2, 3)))
