"""Which trackers an experiment asks for, and whether they can be had."""

from importlib.util import find_spec

from inat_ray.boards.tracker import Tracker
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.run.folder import RunFolder


def check_trackers(experiment: Experiment) -> None:
    """Raises UserError where one is not installed, does not answer or lacks a key: before the
    first trial, and with no question asked."""
    tracking = experiment.tracking
    for name in tracking.to:
        if find_spec(name) is None:
            raise UserError(
                f"tracking.to: {name}: is not installed; pip install 'inat_ray[{name}]' brings it"
            )
    # Imported only now: they are large, and not everybody has them.
    if "wandb" in tracking.to:
        from inat_ray.boards.wandb_tracker import check_wandb

        check_wandb(tracking.wandb)
    if "mlflow" in tracking.to:
        from inat_ray.boards.mlflow_tracker import check_mlflow

        check_mlflow(tracking.mlflow, name=experiment.name)


def open_trackers(experiment: Experiment, run: RunFolder) -> list[Tracker]:
    """Those that `check_trackers` has found well; nothing is told to them yet."""
    tracking = experiment.tracking
    trackers: list[Tracker] = []
    if "wandb" in tracking.to:
        from inat_ray.boards.wandb_tracker import WandbTracker

        trackers.append(WandbTracker(tracking.wandb, folder=run.path))
    if "mlflow" in tracking.to:
        from inat_ray.boards.mlflow_tracker import MlflowTracker

        trackers.append(MlflowTracker(tracking.mlflow, name=experiment.name))
    return trackers
