"""One image of a source, before it is read."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["train", "validation", "test", ""]
"""The use that a layout has for an image; empty if it has none in particular."""


@dataclass(frozen=True)
class Item:
    """An image by name and label."""

    name: str
    """Unique in its source; the split depends on it."""
    label: int
    role: Role
