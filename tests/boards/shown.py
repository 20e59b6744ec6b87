"""What TensorBoard is made to show in tests: the made-up sweep with all that it can have."""

from pathlib import Path

import numpy as np
from tensorboard.plugins.hparams import api_pb2

from inat_ray.boards.tensorboard import BEST, SCORE, TensorBoardObserver
from inat_ray.config.distributions import Categorical, Numeric
from inat_ray.training.snapshot import Mistakes, Snapshot

ALL_STATUSES = api_pb2.Status.values()

STATUS = {
    "trial_0000": api_pb2.STATUS_SUCCESS,
    "trial_0001": api_pb2.STATUS_SUCCESS,
    "trial_0002": api_pb2.STATUS_FAILURE,
    "trial_0003": api_pb2.STATUS_FAILURE,
    "trial_0004": api_pb2.STATUS_FAILURE,
    "trial_0005": api_pb2.STATUS_UNKNOWN,
}

FINAL_AND_BEST = {
    "trial_0000": (0.8, 0.9),
    "trial_0001": (0.25, 0.25),
    "trial_0002": (0.1, 0.1),
    "trial_0003": None,
    "trial_0004": (0.4, 0.4),
    "trial_0005": (0.6, 0.6),
}

SPACE = {
    "recipe.lr": Numeric("log", low=1e-4, high=1.0),
    "model.filters": Categorical(([32, 64], [8, 8], None, "auto"), (0.25,) * 4),
    "recipe.momentum": Numeric("linear", low=0.0, high=1.0),
}

MOMENTA = {"trial_0000": 0.9, "trial_0004": 0.5}
"""Values of a parameter that exists under a condition."""


def with_momentum(records: list) -> list:
    """The sweep with one conditional parameter more."""
    started = records[0].model_copy(
        update={"parameters": records[0].parameters | {"recipe.momentum": "number"}}
    )
    return [started, *map(_with_momentum, records[1:])]


def _with_momentum(record):
    if record.kind != "trial_started" or record.trial_id not in MOMENTA:
        return record
    more = {"recipe.momentum": MOMENTA[record.trial_id]}
    return record.model_copy(update={"parameters": record.parameters | more})


def snapshot_of(trial_id: str) -> Snapshot | None:
    """One of two classes, with a mistake, at epoch 2; trial_0003 failed before it had any."""
    if trial_id == "trial_0003":
        return None
    one = np.ones(1, dtype=np.int64)
    return Snapshot(
        epoch=2,
        classes=["oak", "pine"],
        confusion=np.array([[0, 0, 3], [1, 0, 1]]),
        mistakes=Mistakes(
            indices=one,
            truths=one,
            predictions=one * 0,
            probabilities=one * 0.75,
            pictures=np.full((1, 8, 8, 3), 200, dtype=np.uint8),
        ),
        filters=np.linspace(0, 1, 4 * 27, dtype=np.float32).reshape(4, 3, 3, 3),
        augmented=np.full((2, 8, 8, 3), 90, dtype=np.uint8),
    )


def written(records, folder: Path, **known) -> Path:
    observer = TensorBoardObserver(folder, **known)
    for record in records:
        observer(record)
    observer.close()
    return folder


def by_tag(final_and_best: tuple[float, float]) -> dict[str, float]:
    """In a log of an earlier version the score is the best."""
    final, best = final_and_best
    return {"accuracy/val": final, BEST: best, SCORE: best}
