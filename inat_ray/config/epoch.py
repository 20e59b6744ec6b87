"""The numbers of an epoch, in one type from training through the run log to the tables.

It is in config because training and the run log both need it, and neither may import the other.
"""

import math
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    create_model,
)

from inat_ray.config.metrics import METRICS, MetricName

Amount = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]


def _share_or_nan(value: float) -> float:
    if value < 0 or value > 1:
        raise ValueError("should be 0 to 1")
    return value


ShareOrNan = Annotated[float, AfterValidator(_share_or_nan)]


Later = Annotated[NonNegativeInt | None, Field(exclude_if=lambda count: count is None)]
"""A count that the first logs did not have: None is not written."""


class _FixedNumbers(BaseModel):
    """The numbers that every log has, and that the program itself asks for."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    epoch: PositiveInt
    """Counted from 1."""
    train_loss: float
    """The objective, with its smoothing. NaN or infinite, as `val_loss` may be, where the training
    diverged."""
    train_accuracy: ShareOrNan
    val_loss: float
    """Without smoothing."""
    val_accuracy: ShareOrNan
    val_balanced_accuracy: ShareOrNan
    lr: Amount
    """Learning rate of the last step."""
    seconds: Amount
    """Of the whole epoch, with its evaluation."""
    images_per_second: Amount
    """Training images a second, without the evaluation."""
    peak_memory: NonNegativeInt | None = None
    """Most bytes of GPU memory in use at once; None on a CPU."""
    model_parameters: Later = None
    """Of the network, frozen ones included; None in logs of earlier versions, as `macs` is."""
    macs: Later = None
    """Multiply-accumulates of a forward pass of one image through the whole network."""

    @property
    def diverged(self) -> bool:
        """Whether a loss is NaN or infinite, after which training cannot recover."""
        return not (math.isfinite(self.train_loss) and math.isfinite(self.val_loss))

    def metrics(self) -> dict[str, float]:
        """Returns the metrics that are not NaN: a later one is in an older log."""
        values = {name: getattr(self, name) for name in METRICS}
        return {name: value for name, value in values.items() if not math.isnan(value)}

    def score(self, metric: MetricName) -> float:
        """Returns the metric, turned so that higher is better; it may be NaN."""
        return METRICS[metric].score(getattr(self, metric))


def later_metrics() -> dict[str, Any]:
    """Returns the fields of the metrics that the first logs did not have.

    NaN is not written, since it is what a log without the field reads as.
    """
    return {
        name: (ShareOrNan if metric.is_share else float, Field(math.nan, exclude_if=math.isnan))
        for name, metric in METRICS.items()
        if name not in _FixedNumbers.model_fields
    }


if TYPE_CHECKING:
    EpochMetrics = _FixedNumbers
else:
    EpochMetrics = create_model(
        "EpochMetrics",
        __base__=_FixedNumbers,
        __module__=__name__,  # workers send epochs to the driver as pickles
        __doc__="One epoch of a training, with every metric of METRICS. The run log's record of it "
        "adds whose epoch it is and when it ended.",
        **later_metrics(),
    )
