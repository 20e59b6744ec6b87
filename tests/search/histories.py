"""Logs made up for tests: a space, and records in a few words."""

from inat_ray.config.experiment import Experiment
from inat_ray.log.history import History
from inat_ray.log.records import LOG_VERSION, EpochEnded, RunStarted, TrialStarted
from inat_ray.search.limits import Beyond, Limit

SPACE = {
    "recipe.lr": {"values": [0.1, 0.01, 0.001]},
    "model.dense": {"values": [8, 16, 32]},
}


EPOCHS = 9
"""Of a trial."""


def experiment_of(*, parameters=None, **search) -> Experiment:
    tree = {
        "recipe": {"epochs": EPOCHS},
        "search": {"parameters": parameters or SPACE, **search},
    }
    return Experiment.model_validate(tree)


def narrower_than(dense: int) -> Limit:
    """A limit on `model.dense`, without a network that is counted."""

    def limit(point):
        wide = point["model.dense"] >= dense
        return Beyond(point, model_parameters=point["model.dense"], macs=1) if wide else None

    return limit


def begun(experiment: Experiment, *, time: float = 0.0) -> History:
    """A history with the start of a run."""
    history = History()
    history.add(
        RunStarted(
            time=time,
            version=LOG_VERSION,
            name="made_up",
            method=experiment.search.method,
            metric=experiment.search.metric.name,
            goal=experiment.search.metric.goal,
            trials=experiment.search.trials or 9,
            epochs=experiment.recipe.epochs,
            parameters={"recipe.lr": "number", "model.dense": "number"},
        )
    )
    return history


def epoch_of(trial_id: str, epoch: int, accuracy: float, *, time: float = 0.0) -> EpochEnded:
    return EpochEnded(
        time=time,
        trial_id=trial_id,
        epoch=epoch,
        train_loss=1.0,
        train_accuracy=accuracy,
        val_loss=1 - accuracy,
        val_accuracy=accuracy,
        val_balanced_accuracy=accuracy,
        lr=0.1,
        seconds=1.0,
        images_per_second=1.0,
        checkpoint=f"checkpoints/{trial_id}/epoch_{epoch:04d}.pt",
    )


def history_of_curves(curves: dict[str, list[float]], *, metric: str = "val_accuracy") -> History:
    """Trials of ten epochs by id, with the metric after each epoch so far."""
    history = History()
    goal = "minimize" if metric == "val_loss" else "maximize"
    history.add(
        RunStarted(
            name="t", method="random", metric=metric, goal=goal, trials=9, epochs=10, parameters={}
        )
    )
    for trial_id, curve in curves.items():
        history.add(TrialStarted(trial_id=trial_id, seed=0, parameters={}, epochs=10))
        for epoch, value in enumerate(curve, start=1):
            history.add(epoch_of_value(trial_id, epoch, value))
    return history


def epoch_of_value(trial_id: str, epoch: int, value: float) -> EpochEnded:
    """An epoch whose loss is the value, and whose accuracy is too, up to 1."""
    return EpochEnded(
        trial_id=trial_id,
        epoch=epoch,
        train_loss=value,
        train_accuracy=0.5,
        val_loss=value,
        val_accuracy=min(value, 1.0),
        val_balanced_accuracy=min(value, 1.0),
        lr=0.1,
        seconds=1.0,
        images_per_second=1.0,
    )
