"""Hyperparameter search for image classifiers on Ray."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inat_ray.api import Experiment, Model, Prediction, Run, RunFailedError, UserError, load

__all__ = [
    "Experiment",
    "Model",
    "Prediction",
    "Run",
    "RunFailedError",
    "UserError",
    "__version__",
    "load",
]

__version__ = "0.1.0"

# OpenMP's threads spin 300,000 times before they sleep, and starve each other wherever there are
# more of them than free cores: on two cores with other work a small CNN trained at 150 to 600
# images/s, and at 1,100 with 10,000 spins, which on idle cores cost 3 %. libgomp reads it once,
# so it counts only if it is set before PyTorch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def __getattr__(name: str) -> Any:
    """Imports `inat_ray.api`, which takes seconds, once one of its names is used."""
    if name in __all__:
        return getattr(import_module("inat_ray.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
