"""Hyperparameter search for image classifiers on Ray."""

import os

__version__ = "0.1.0"

# OpenMP's threads spin 300,000 times before they sleep, and starve each other wherever there are
# more of them than free cores: on two cores with other work a small CNN trained at 150 to 600
# images/s, and at 1,100 with 10,000 spins, which on idle cores cost 3 %. libgomp reads it once,
# so it counts only if it is set before PyTorch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
