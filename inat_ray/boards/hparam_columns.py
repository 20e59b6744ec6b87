"""Hyperparameters as TensorBoard's HParams tab knows them: types, domains, values."""

import json
import math

from google.protobuf.struct_pb2 import Value
from tensorboard.plugins.hparams import api_pb2

from inat_ray.config.distributions import Categorical, Parameter
from inat_ray.log.records import JSON, ParameterKind

TYPES: dict[ParameterKind, int] = {
    "number": api_pb2.DATA_TYPE_FLOAT64,
    "boolean": api_pb2.DATA_TYPE_BOOL,
    "string": api_pb2.DATA_TYPE_STRING,
}

MOST_CHOICES = 20
"""The tab shows a checkbox for each choice; a parameter with more of them gets a text filter."""


def kind_shown(kind: ParameterKind, parameter: Parameter | None) -> ParameterKind:
    """Returns the type of a parameter's column. Numbers of a choice are texts: 256, not 256.00."""
    is_choice = kind == "number" and isinstance(parameter, Categorical)
    return "string" if is_choice else kind


def hparam_info(
    name: str, kind: ParameterKind, parameter: Parameter | None = None, *, ticked: bool = False
) -> api_pb2.HParamInfo:
    """Returns a column of the tab, with the domain of `parameter` if the tab can show it.

    `kind` is the column's, and `ticked` whether it is one of the five that are shown at first.
    """
    # The tab ticks the first five columns; it orders them by `differs`, and then by name.
    info = api_pb2.HParamInfo(name=name, type=TYPES[kind], differs=ticked)
    if isinstance(parameter, Categorical):
        choices = parameter.values if parameter.size <= MOST_CHOICES else ()
        for value in choices:
            set_value(info.domain_discrete.values.add(), value, kind)
    elif parameter is not None and math.isfinite(parameter.low) and math.isfinite(parameter.high):
        info.domain_interval.min_value = parameter.low
        info.domain_interval.max_value = parameter.high
    return info


def set_value(target: Value, value: JSON, kind: ParameterKind) -> None:
    """Sets a hyperparameter's value in the type of its column; as JSON if that is a string."""
    match kind:
        case "number":
            target.number_value = value
        case "boolean":
            target.bool_value = value
        case "string":
            target.string_value = value if isinstance(value, str) else json.dumps(value)
