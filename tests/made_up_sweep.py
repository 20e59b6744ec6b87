"""A made-up sweep in which trials end in every way that a trial can."""

import math
from collections.abc import Callable

import pytest

from inat_ray.log.history import History
from inat_ray.log.records import (
    LOG_VERSION,
    AnyRecord,
    EpochEnded,
    RunStarted,
    TrialEnded,
    TrialStarted,
)

STARTED = 1_800_000_000.0
"""Seconds since 1970."""

KINDS = {"recipe.lr": "number", "model.batch_norm": "boolean", "model.filters": "string"}

PARAMETERS = {
    "trial_0000": {"recipe.lr": 0.003, "model.batch_norm": True, "model.filters": [32, 64]},
    "trial_0001": {"recipe.lr": 0.001, "model.batch_norm": False, "model.filters": [8, 8]},
    "trial_0002": {"recipe.lr": 1, "model.batch_norm": True, "model.filters": None},
    "trial_0003": {"recipe.lr": 0.01, "model.batch_norm": True, "model.filters": "auto"},
    "trial_0004": {"recipe.lr": 0.02, "model.batch_norm": False, "model.filters": [8, 8]},
    "trial_0005": {"recipe.lr": 0.03, "model.batch_norm": False, "model.filters": [32, 64]},
}

ACCURACIES = {
    "trial_0000": [0.5, 0.9, 0.8],
    "trial_0001": [0.25],
    "trial_0002": [0.1],
    "trial_0003": [],
    "trial_0004": [0.3, 0.4],
    "trial_0005": [0.6],
}

ENDINGS = {
    "trial_0000": "finished",
    "trial_0001": "stopped",
    "trial_0002": "diverged",
    "trial_0003": "failed",
    "trial_0004": "interrupted",
}
"""trial_0005 runs still: nobody wrote its end, as when the driver is killed."""


def epoch_ended(trial_id: str, epoch: int, *, time: float, **metrics: float) -> EpochEnded:
    values = {
        "train_loss": 2.0 / epoch,
        "train_accuracy": 0.5,
        "val_loss": 1.5,
        "val_accuracy": 0.5,
        "val_balanced_accuracy": 0.45,
        "val_macro_f1": 0.4,
        "val_ece": 0.1,
        "lr": 0.001,
        "seconds": 2.0,
        "images_per_second": 1000.0,
    }
    return EpochEnded(trial_id=trial_id, epoch=epoch, time=time, **(values | metrics))


@pytest.fixture
def sweep() -> list[AnyRecord]:
    """Six trials one after the other, a record a second."""
    records: list[AnyRecord] = [
        RunStarted(
            time=STARTED,
            name="made_up",
            method="random",
            metric="val_accuracy",
            goal="maximize",
            trials=8,
            epochs=3,
            parameters=KINDS,
        )
    ]
    for seed, (trial_id, parameters) in enumerate(PARAMETERS.items()):
        records += trial_records(trial_id, parameters, seed=seed, time=STARTED + len(records))
    return records


def trial_records(trial_id: str, parameters: dict, *, seed: int, time: float) -> list[AnyRecord]:
    state = ENDINGS.get(trial_id)
    accuracies = ACCURACIES[trial_id]
    loss = {"train_loss": math.nan, "val_loss": math.nan} if state == "diverged" else {}
    start = TrialStarted(time=time, trial_id=trial_id, seed=seed, parameters=parameters, epochs=3)
    epochs = [
        epoch_ended(trial_id, epoch, time=time + epoch, val_accuracy=accuracy, **loss)
        for epoch, accuracy in enumerate(accuracies, start=1)
    ]
    if state is None:
        return [start, *epochs]
    error = "out of memory [GPU 0]" if state == "failed" else None
    end = TrialEnded(time=time + len(epochs) + 1, trial_id=trial_id, state=state, error=error)
    return [start, *epochs, end]


def of_now(records: list[AnyRecord]) -> list[AnyRecord]:
    """The same log by this version, its best trial with 0.5, 0.7 and 0.9: the last one is luck.

    In earlier versions the winner is the trial with the best epoch.
    """
    values = {2: 0.7, 3: 0.9}
    told = [
        record.model_copy(update={"val_accuracy": values.get(record.epoch, record.val_accuracy)})
        if isinstance(record, EpochEnded) and record.trial_id == "trial_0000"
        else record
        for record in records[1:]
    ]
    return [records[0].model_copy(update={"version": LOG_VERSION}), *told]


@pytest.fixture
def study() -> Callable[..., list[AnyRecord]]:
    """Records of a search over seeds, from the accuracies of each configuration's seeds."""

    def records(accuracies: dict[str, list[float]], **run: str) -> list[AnyRecord]:
        kinds = {"model.freeze": "string", "recipe.lr": "number", "seed": "number"}
        told: list[AnyRecord] = [
            RunStarted(
                **{
                    "name": "study",
                    "method": "grid",
                    "metric": "val_accuracy",
                    "goal": "maximize",
                }
                | run,
                time=STARTED,
                trials=sum(map(len, accuracies.values())),
                epochs=1,
                parameters=kinds,
            )
        ]
        for strategy, values in accuracies.items():
            for seed, value in enumerate(values, start=10):
                told += study_trial(strategy, seed=seed, value=value, number=len(told) // 3)
        return told

    return records


def study_trial(strategy: str, *, seed: int, value: float, number: int) -> list[AnyRecord]:
    trial_id, time = f"trial_{number:04d}", STARTED + 3 * number + 1
    parameters = {"model.freeze": {"strategy": strategy}, "recipe.lr": 0.003, "seed": seed}
    return [
        TrialStarted(time=time, trial_id=trial_id, seed=seed, parameters=parameters, epochs=1),
        epoch_ended(trial_id, 1, time=time + 1, val_accuracy=value, val_loss=1 - value),
        TrialEnded(time=time + 2, trial_id=trial_id, state="finished"),
    ]


@pytest.fixture
def history_of() -> Callable[[list[AnyRecord]], History]:
    def fold(records: list[AnyRecord]) -> History:
        history = History()
        for record in records:
            history.add(record)
        return history

    return fold


def renamed(records, trial_id: str, **updates) -> list:
    """The records of one trial as those of another; `updates` go to its start."""
    start, *rest = records
    return [
        start.model_copy(update={"trial_id": trial_id, **updates}),
        *(record.model_copy(update={"trial_id": trial_id}) for record in rest),
    ]


@pytest.fixture
def training(sweep) -> list:
    """The records of `train`: one configuration, three epochs."""
    run = sweep[0].model_copy(update={"method": "train", "parameters": {}, "trials": 1})
    return [run, *renamed(sweep[1:6], "train", parameters={})]
