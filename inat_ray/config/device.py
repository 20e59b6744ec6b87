"""The names of devices. They are apart from the settings, which `--help` need not load."""

from typing import Literal

DeviceName = Literal["auto", "cuda", "mps", "cpu"]
