"""The `tracking` section: the trackers that a run is logged to besides its own folder."""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from inat_ray.config.section import Section

TrackerName = Literal["wandb", "mlflow"]


class WandbConfig(Section):
    """Weights & Biases. Its key comes from WANDB_API_KEY or from `wandb login`."""

    project: str = Field("inat_ray", pattern=r"^[^/\\#?%:]{1,128}$")
    """Project that the run is logged to."""
    entity: str | None = None
    """User or team. null: your default."""
    mode: Literal["online", "offline"] | None = None
    """offline: the run is kept in its folder `wandb`, for a later `wandb sync`. null: WANDB_MODE if
    set, else online."""


class MlflowConfig(Section):
    """MLflow. A server's credentials come from MLFLOW_TRACKING_USERNAME and
    MLFLOW_TRACKING_PASSWORD, or from MLFLOW_TRACKING_TOKEN."""

    uri: str | None = None
    """http(s)://HOST or sqlite:///FILE. null: MLFLOW_TRACKING_URI if set, else ./mlflow.db,
    MLflow's own default."""
    experiment: str | None = Field(None, min_length=1)
    """MLflow experiment that the run is logged to. null: the name of this experiment."""

    @model_validator(mode="after")
    def _holds_no_secret(self) -> "MlflowConfig":
        # A validator of the section: the error of one of `uri` alone would show the address.
        if self.uri is not None and _may_hold_a_secret(self.uri):
            raise ValueError(
                "uri holds a user, a password or a query, and a run's files hold the uri; allowed"
                " are MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or"
                " MLFLOW_TRACKING_TOKEN, in the environment"
            )
        return self


def _may_hold_a_secret(uri: str) -> bool:
    parts = urlsplit(uri)
    # A server to which one signs in with a token alone takes it for the user.
    user = parts.username is not None and parts.scheme in ("http", "https")
    return user or parts.password is not None or bool(parts.query or parts.fragment)


class TrackingConfig(Section):
    """Trackers that a run is logged to besides its own folder.

    Nothing is sent anywhere unless `to` names it. A run can be resumed with other settings here.
    """

    to: list[TrackerName] = Field([])
    """The trackers to log to. `--track` sets it."""
    wandb: WandbConfig = WandbConfig()
    """Settings of Weights & Biases."""
    mlflow: MlflowConfig = MlflowConfig()
    """Settings of MLflow."""
