"""Records of a made-up run, and logs of them."""

from inat_ray.log.history import History
from inat_ray.log.records import EpochEnded, RunStarted, TrialEnded, TrialStarted
from inat_ray.log.run_log import RunLog

RUN = RunStarted(
    time=1.0,
    name="made_up",
    method="random",
    metric="val_accuracy",
    goal="maximize",
    trials=2,
    epochs=3,
    parameters={"recipe.lr": "number"},
)


def started(trial_id: str, *, purpose="search", time=2.0) -> TrialStarted:
    return TrialStarted(
        time=time,
        trial_id=trial_id,
        purpose=purpose,
        seed=7,
        parameters={"recipe.lr": 0.1, "model.filters": [32, 64]},
        epochs=3,
    )


def epoch(trial_id: str, number: int, *, accuracy=0.5, loss=1.0, checkpoint=None) -> EpochEnded:
    return EpochEnded(
        trial_id=trial_id,
        epoch=number,
        train_loss=loss,
        train_accuracy=accuracy,
        val_loss=loss,
        val_accuracy=accuracy,
        val_balanced_accuracy=accuracy,
        lr=0.1,
        seconds=1.0,
        images_per_second=100.0,
        checkpoint=checkpoint,
    )


def ended(trial_id: str, state="finished", error=None) -> TrialEnded:
    return TrialEnded(trial_id=trial_id, state=state, error=error)


TORN = [started("größe"), ended("b", "failed", 'a "größe" {of} 画像')]
"""A crash may cut a line behind any byte: within a character, or where `}` looks like the end."""


def history_of(*records) -> History:
    history = History()
    for record in records:
        history.add(record)
    return history


def written(folder, *records, observers=()):
    with RunLog(folder) as log:
        for observer in observers:
            log.watch(observer)
        for record in records:
            log.append(record)
    return log.path


def lines_of(path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)
