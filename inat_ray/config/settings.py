"""What every part of an experiment has in common."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of every part of an experiment: unknown keys are errors, values do not change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )
