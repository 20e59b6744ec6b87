"""One image of a source, before it is read."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["train", "validation", "test", ""]
"""What a layout says that an image is for; empty where it says nothing."""


@dataclass(frozen=True)
class Item:
    """`name` is unique in its source, and part of what decides the split."""

    name: str
    label: int
    role: Role
