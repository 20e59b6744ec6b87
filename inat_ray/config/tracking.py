"""Where a run is told of besides its own folder: Weights & Biases, MLflow."""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from inat_ray.config.settings import Settings

TrackerName = Literal["wandb", "mlflow"]


class WandbConfig(Settings):
    """Weights & Biases. Its key is in WANDB_API_KEY, or where `wandb login` has put it."""

    project: str = Field("inat_ray", pattern=r"^[^/\\#?%:]{1,128}$")
    entity: str | None = None
    """User or team; None: your default one."""
    mode: Literal["online", "offline"] | None = None
    """offline: kept in the run's folder `wandb`, for `wandb sync` to bring there later. None:
    WANDB_MODE, else online."""


class MlflowConfig(Settings):
    """MLflow. What a server asks for is in MLFLOW_TRACKING_USERNAME, _PASSWORD or _TOKEN."""

    uri: str | None = None
    """http(s)://HOST, or sqlite:///FILE; None: MLFLOW_TRACKING_URI, else ./mlflow.db, MLflow's own
    default."""
    experiment: str | None = Field(None, min_length=1)
    """None: the name of this experiment."""

    @model_validator(mode="after")
    def _holds_no_secret(self) -> "MlflowConfig":
        # Of the whole section, since an error about the address alone would show it.
        if self.uri is not None and _may_hold_a_secret(self.uri):
            raise ValueError(
                "uri holds a user, a password or a query, and a run's files hold the uri; allowed"
                " are MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or"
                " MLFLOW_TRACKING_TOKEN, in the environment"
            )
        return self


def _may_hold_a_secret(uri: str) -> bool:
    parts = urlsplit(uri)
    # Whoever signs in with a token alone gives it as the user.
    user = parts.username is not None and parts.scheme in ("http", "https")
    return user or parts.password is not None or bool(parts.query or parts.fragment)


class TrackingConfig(Settings):
    """Nothing is told to anybody unless `to` names them. Where a run is told of is no part of what
    it computes: a run can go on with other settings here."""

    to: list[TrackerName] = Field([])
    """`--track` sets it."""
    wandb: WandbConfig = WandbConfig()
    mlflow: MlflowConfig = MlflowConfig()
