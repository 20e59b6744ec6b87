"""A network of your own: `TinyNet`, a small ConvMixer (Trockman and Kolter, 2022)."""

from torch import Tensor, nn


class Block(nn.Module):
    """Each channel sees its surroundings, then each pixel mixes its channels."""

    def __init__(self, width: int, kernel_size: int) -> None:
        super().__init__()
        around = kernel_size // 2
        self.space = nn.Conv2d(width, width, kernel_size, padding=around, groups=width)
        self.mix = nn.Conv2d(width, width, 1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, maps: Tensor) -> Tensor:
        maps = maps + nn.functional.gelu(self.space(maps))
        return self.norm(nn.functional.gelu(self.mix(maps)))


class TinyNet(nn.Module):
    """Images (n, 3, s, s) to logits (n, classes); the rest comes from `model.args`."""

    def __init__(self, classes: int, width: int = 32, depth: int = 3, kernel_size: int = 5) -> None:
        super().__init__()
        self.patches = nn.Sequential(nn.Conv2d(3, width, 2, stride=2), nn.BatchNorm2d(width))
        self.blocks = nn.Sequential(*(Block(width, kernel_size) for _ in range(depth)))
        self.head = nn.Linear(width, classes)  # by its name, freezing knows what is the head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(self.patches(images)).mean(dim=(2, 3)))
