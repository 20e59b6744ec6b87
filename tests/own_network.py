"""A network of one's own in a file, and an experiment beside it."""

from pathlib import Path

SOURCE = '''
"""A network as somebody writes it who has never heard of inat_ray."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes, width=8, dropout=0.0):
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.scale = nn.Parameter(torch.ones(width, 1, 1))
        self.second = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.register_buffer("shift", torch.linspace(0, 1, 2 * width), persistent=False)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width, classes)
        self.dense = nn.Linear(2 * width, 2 * width)

    def forward(self, images):
        maps = torch.relu(self.norm(self.first(images))) * self.scale
        maps = nn.functional.max_pool2d(maps, 2)
        features = torch.relu(self.second(maps)).mean(dim=(2, 3)) + self.shift
        features = torch.relu(self.dense(features))
        return self.head(self.dropout(features))


def with_two_layers(classes, width=8):
    layers = [nn.Flatten(), nn.LazyLinear(width), nn.ReLU(), nn.Linear(width, classes)]
    return nn.Sequential(*layers)
'''


def write_network(folder: Path, source: str = SOURCE, *, name: str = "my_net.py") -> Path:
    path = folder / name
    path.write_text(source)
    return path


def write_experiment(folder: Path, more: str = "", *, target: str = "my_net.py:Net") -> Path:
    path = folder / "own.yaml"
    path.write_text(f"name: own\nmodel: {{kind: module, target: '{target}'}}\n{more}")
    return path


def evil(mark: Path) -> str:
    """Code that leaves a mark wherever it runs, and is else that of a good network."""
    return f"open({str(mark)!r}, 'w').close()\n{SOURCE}"
