"""The numbers of an epoch, in one type from training through the run log to the tables.

It is in config because training and the run log both need it, and neither may import the other.
"""

import math
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from inat_ray.config.metrics import METRICS, MetricName

Amount = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]


def _share_or_nan(value: float) -> float:
    if value < 0 or value > 1:
        raise ValueError("should be 0 to 1")
    return value


ShareOrNan = Annotated[float, AfterValidator(_share_or_nan)]


class EpochMetrics(BaseModel):
    """One epoch of a training. The run log's record adds which trial had it, and when it ended.

    The training loss is the objective, with label smoothing; the validation loss is without it.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    epoch: PositiveInt
    """Counted from 1."""
    train_loss: float
    """NaN or infinite, as `val_loss` may be, where the training diverged."""
    train_accuracy: ShareOrNan
    val_loss: float
    val_accuracy: ShareOrNan
    val_balanced_accuracy: ShareOrNan
    """The mean of the classes' recalls."""
    lr: Amount
    """Learning rate of the last step."""
    seconds: Amount
    """Of the whole epoch, with its evaluation."""
    images_per_second: Amount
    """Training images a second, without the evaluation."""
    peak_memory: NonNegativeInt | None = None
    """Most bytes of GPU memory in use at once; None on a CPU."""

    @property
    def diverged(self) -> bool:
        """Whether a loss is NaN or infinite, after which training cannot recover."""
        return not (math.isfinite(self.train_loss) and math.isfinite(self.val_loss))

    def score(self, metric: MetricName) -> float:
        """Returns the metric, turned so that higher is better; it may be NaN."""
        return METRICS[metric].score(getattr(self, metric))
