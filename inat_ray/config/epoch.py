"""The numbers of an epoch: one type for them, from training through the run log to the tables.

It stands in config because training and the run log both need it and neither may know the other.
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
    """One epoch of a training. The run log's record of it adds whose epoch it is and when it ended.

    The training loss is the objective, with its smoothing; the validation loss has none.
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
    """The last step's."""
    seconds: Amount
    """The whole epoch, evaluation included."""
    images_per_second: Amount
    """Training images over the seconds of the training part."""
    peak_memory: NonNegativeInt | None = None
    """The most bytes of GPU memory in use at once; None on a CPU."""

    @property
    def diverged(self) -> bool:
        """Whether a loss is NaN or infinite, after which training cannot recover."""
        return not (math.isfinite(self.train_loss) and math.isfinite(self.val_loss))

    def score(self, metric: MetricName) -> float:
        """The metric, turned so that higher is better; NaN where it is."""
        return METRICS[metric].score(getattr(self, metric))
