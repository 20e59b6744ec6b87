"""The values of a search's parameters, as the settings that they are tried on hold them."""

from collections.abc import Mapping
from typing import get_args

from pydantic import ValidationError

from inat_ray.config.distributions import JSON, Parameter
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.faults import explain_fault, key_of, shown
from inat_ray.config.model import MODEL_KINDS, FreezeStrategy
from inat_ray.config.overrides import KIND, STRATEGY, settings_in
from inat_ray.config.section import kind_of
from inat_ray.config.trial import experiment_at, value_at, with_parameters

DECISIONS = {KIND: tuple(MODEL_KINDS), STRATEGY: get_args(FreezeStrategy)}
"""The values of the settings that decide which others stand beside them."""


def own_values(experiment: Experiment) -> dict[str, JSON]:
    """Returns the experiment's own value of every parameter that its kind of model has."""
    settings = settings_in(experiment.model_dump(mode="json", exclude={"search"}))
    return {name: settings[name] for name in experiment.search.parameters if name in settings}


def tried(experiment: Experiment, name: str, value: JSON, *, met: Mapping[str, JSON]) -> JSON:
    """Returns the value as the experiment holds it. Raises UserError where it does not take it."""
    # What a kind, or a strategy of freezing, needs beside it stands below it, and is tried there.
    there = experiment_at(experiment, met) or experiment
    if value in DECISIONS.get(name, ()) and kind_of(there, name):
        return value
    try:
        return _held(experiment, name, value, met=met)
    except KeyError:
        raise UserError("there is no setting of that name") from None
    except ValidationError as error:
        about = [fault for fault in error.errors() if key_of(fault).startswith(name)]
        explanation = explain_fault((about or error.errors())[0]).removeprefix(f"{name}: ")
        # A fault elsewhere, such as in a setting that depends on this one, does not name the value.
        named = "" if about else f"{shown(value)}: "
        raise UserError(f"{named}{explanation}") from None


def _held(
    experiment: Experiment, name: str, value: JSON, *, met: Mapping[str, JSON] | None = None
) -> JSON:
    """Returns the value once the experiment has it: of the setting's type, mappings filled up."""
    changed = with_parameters(experiment, {**(met or {}), name: value})
    return value_at(changed.model_dump(mode="json", exclude={"search"}), name)


def of_parameter(experiment: Experiment, name: str, value: JSON, parameter: Parameter) -> JSON:
    """Returns a value of a condition or a first point as its parameter has it: 16 for '16'.

    What the setting does not take is returned as it is, and then is no value of the parameter.
    """
    if parameter.contains(value):
        return value
    try:
        return as_written(_held(experiment, name, value), value)
    except (ValidationError, KeyError):
        return value


def as_written(held: JSON, written: JSON) -> JSON:
    """Returns the value with the setting's type, but of a mapping only the keys that were written.

    A 0 stays 0 where the setting would have 0.0: they are equal, and logs of earlier versions have
    the 0. Another text for the same point would count it as a new one when such a run is resumed.
    """
    if isinstance(held, Mapping) and isinstance(written, Mapping):
        return {key: as_written(held.get(key), value) for key, value in written.items()}
    same = isinstance(held, float) and type(written) is int and held == written
    return written if same else held
