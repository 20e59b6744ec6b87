"""The parameters of a W&B sweep as settings of an experiment."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import product
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from inat_ray.config.backbones import Source, torchvision_names, weight_tags
from inat_ray.config.distributions import Parameter, canonical, parse_parameter
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.faults import shown
from inat_ray.config.model import MODEL_KINDS
from inat_ray.config.overrides import KIND, PARAMETERS, put
from inat_ray.config.section import kind_of_field
from inat_ray.config.space import SEARCHABLE, SEED, is_within
from inat_ray.config.wandb.distributions import drawn, kept_inside
from inat_ray.config.wandb.names import (
    ALREADY_SO,
    BACKBONE,
    FACTORS,
    FILTERS,
    NO_NETWORK,
    NOT_NEEDED,
    NUM_FILTERS,
    ORGANISATION,
    SECTIONS,
    SETTINGS,
    Known,
    as_it_is,
    five,
    number,
    plain,
)
from inat_ray.config.wandb.translation import Translation

JSON = Any
Tree = dict[str, Any]

MOST_LISTED = 100
"""The most values of a setting that has no ranges, where a sweep has one."""

Listed = Sequence[tuple[JSON, float]]
"""Values with their probabilities."""


@dataclass
class _Parameters:
    """The parameters of a sweep while they are read."""

    found: Translation
    given: Mapping[str, JSON]
    """The settings that the command line names."""
    kind: str = "cnn"
    """Of model."""
    taken: dict[str, str] = field(default_factory=dict)
    """Setting -> the parameter that is it."""

    def is_given(self, setting: str) -> bool:
        return setting in self.given or f"{PARAMETERS}{setting}" in self.given


class _NotHadError(ValueError):
    """A value that the setting here does not have."""

    def __init__(self, value: JSON, others: list[JSON]) -> None:
        super().__init__(value)
        self.value, self.others = value, others


def read_parameters(
    found: Translation, parameters: Mapping[str, JSON], *, given: Mapping[str, JSON]
) -> None:
    """Adds to `found` what each parameter is here. `given`: settings that the command line names,
    about which nothing is asked."""
    state = _Parameters(found, given)
    mappings: dict[str, Tree] = {}
    for name, spec in parameters.items():
        if isinstance(spec, Mapping):
            mappings[name] = dict(spec)
        else:
            answer = f"--set parameters.{name}.value={spec} makes it one"
            found.ask(f"parameters.{name}", f"{shown(spec)} is no mapping", answer)
    known = {name: _known(name) for name in mappings}
    _choose_kind(state, mappings, known)
    filters: dict[str, Tree] = {}
    for name, spec in mappings.items():
        if state.kind == "cnn" and _is_one_of(name, NUM_FILTERS | ORGANISATION):
            filters[name] = spec
        else:
            _read(state, name, spec, known[name])
    if filters:
        _read_filters(state, filters)


def _words_of(name: str) -> Iterator[str]:
    """Yields what a dotted name may be called in the tables, without the groups that it is in."""
    parts = [plain(part) for part in name.replace("/", ".").split(".")]
    for k in range(len(parts)):
        if all(part in SECTIONS for part in parts[:k]):
            yield "".join(parts[k:])


def _is_one_of(name: str, table: set[str]) -> bool:
    return any(words in table for words in _words_of(name))


def _known(name: str) -> Known | None:
    if known := next((SETTINGS[words] for words in _words_of(name) if words in SETTINGS), None):
        return known
    return Known(name, "", as_it_is) if is_within(name, SEARCHABLE) and setting_at(name) else None


def _choose_kind(
    state: _Parameters, specs: Mapping[str, Tree], known: Mapping[str, Known | None]
) -> None:
    """Decides on the kind of model: by the command line, by networks that are named, or the CNN."""
    of = {name: one.setting for name, one in known.items() if one}
    networks = [_values_in(specs[name]) for name in of if of[name] == BACKBONE]
    pretrained = [name for name in of if of[name].startswith(("model.freeze", "model.weights"))]
    if KIND in state.given:
        state.kind = str(state.given[KIND])
    elif BACKBONE in state.given or any(not _is_no_network(values) for values in networks):
        state.kind = "pretrained"
        put(state.found.tree, KIND, "pretrained")
    elif pretrained:
        reason = "only a pre-trained network has it, and the sweep names none"
        answer = "--set parameters.backbone.value=resnet50 names one"
        state.found.ask(f"parameters.{pretrained[0]}", reason, answer)


def _values_in(spec: Mapping[str, JSON]) -> list[JSON]:
    values = spec.get("values", [spec["value"]] if "value" in spec else [])
    return values if isinstance(values, list) else []


def _is_no_network(values: list[JSON]) -> bool:
    return bool(values) and all(plain(value) in NO_NETWORK for value in values)


def _read(state: _Parameters, name: str, spec: Tree, known: Known | None) -> None:
    """Reads a parameter that is a setting of its own."""
    found, key = state.found, f"parameters.{name}"
    setting = setting_at(known.setting, kind=state.kind) if known else None
    if setting is None and state.kind == "module" and not _is_one_of(name, {*NOT_NEEDED}):
        known = Known(f"model.args.{name.rpartition('.')[2]}", "", as_it_is)
        setting = setting_at("model.args", kind="module")
    if known is None:
        _read_unknown(found, name, spec)
        return
    # What is frozen is one setting, however it is said.
    group = "model.freeze" if known.setting.startswith("model.freeze") else known.setting
    if state.is_given(known.setting) or state.is_given(group):
        found.drop(key, f"{known.setting} is on the command line")
    elif known.setting == BACKBONE and _is_no_network(_values_in(spec)):
        found.say(key, KIND, "cnn")
    elif setting is None:
        reason = f"{KIND} {state.kind} has no {known.setting.removeprefix('model.')}"
        found.ask(key, reason, _leave_out(name))
    elif group in state.taken:
        reason = f"is {group}, as parameters.{state.taken[group]} is"
        found.ask(key, reason, _leave_out(name))
    else:
        state.taken[group] = name
        _read_known(state, key, spec, known, setting)


def _leave_out(name: str) -> str:
    return f"--set parameters.{name}=null leaves it out"


def _read_unknown(found: Translation, name: str, spec: Tree) -> None:
    """Reads a parameter that is no setting: it is not needed, is so already, or is asked about."""
    key, words = f"parameters.{name}", [*_words_of(name)]
    if reason := next((NOT_NEEDED[each] for each in words if each in NOT_NEEDED), None):
        found.drop(key, reason)
    elif always := next((ALREADY_SO[each] for each in words if each in ALREADY_SO), None):
        values = {plain(value) for value in _values_in(spec)}
        if values and values <= always[0]:
            found.drop(key, always[1])
        else:
            found.ask(key, f"{always[1]}, and that cannot be changed", _leave_out(name))
    else:
        close = get_close_matches(words[-1], SETTINGS, n=1, cutoff=0.8)
        hint = f" (is it {SETTINGS[close[0]].setting}?)" if close else ""
        found.ask(key, f"there is no setting of that name here{hint}", _leave_out(name))


def setting_at(name: str, *, kind: str = "cnn") -> FieldInfo | None:
    """Returns the field of the setting with this dotted name, for that kind of model."""
    part: Any = Experiment
    setting = None
    for key in name.split("."):
        if not (isinstance(part, type) and issubclass(part, BaseModel)):
            return setting  # an argument of a network of one's own
        setting = part.model_fields.get(key)
        if setting is None:
            return None
        part = MODEL_KINDS.get(kind) if key == "model" else setting.annotation
    return setting


def _read_known(state: _Parameters, key: str, spec: Tree, known: Known, setting: FieldInfo) -> None:
    found, note = state.found, known.note
    try:
        ours = drawn(spec)
        if known.setting == BACKBONE:
            ours = _networks(found, ours)
        elif "distribution" not in ours or not known.has_ranges:
            ours = _weighed(_read_values(_listed(ours), known))
        else:
            ours = kept_inside(ours, setting)
            is_whole = ours["distribution"] == "int_uniform" and "distribution" not in spec
            if is_whole and kind_of_field(setting) == "fractional":
                note = "whole numbers alone, as W&B reads two whole bounds"
            elif "normal" in ours["distribution"] and ours.keys() & {"min", "max"} - spec.keys():
                note = "kept within what the setting takes"
        for other, value in known.also.items():
            put(found.tree, other, value)
        _say(found, key, known.setting, ours, note)
    except _NotHadError as error:
        answer = _leave_out(key[len("parameters.") :])
        if error.others:
            others = ", ".join(map(str, error.others))
            answer = f"--set '{key}.values=[{others}]' goes on without it"
        found.ask(key, f"{shown(error.value)} cannot be had; {known.allowed} can", answer)
    except ValueError as error:
        reason, *change = error.args
        answer = f"--set {key}.{change[0]}" if change else _leave_out(key[len("parameters.") :])
        found.ask(key, reason, answer)


def _say(found: Translation, key: str, setting: str, spec: Tree, note: str) -> None:
    """Adds a parameter to the search; one with a single value is a fixed setting instead."""
    if "value" in spec:
        found.say(key, setting, spec["value"], note)
        if setting == SEED:  # without a parameter, each trial would get a seed of its own
            put(found.tree, f"{PARAMETERS}{SEED}", spec)
        return
    found.say(key, f"{PARAMETERS}{setting}", spec, note)
    if setting == BACKBONE or setting.startswith("model.freeze."):
        # Without the search, too, the experiment must be a whole one.
        put(found.tree, setting, _parameter(spec).extremes[0])


def _parameter(spec: Tree) -> Parameter:
    try:
        return parse_parameter(spec, "here")
    except UserError as error:
        raise ValueError(str(error).removeprefix("here: ")) from None


def _listed(spec: Tree) -> Listed:
    """Returns the values that a parameter can have. Raises ValueError if they are too many."""
    values, probabilities = _values_in(spec), spec.get("probabilities")
    if not values and "distribution" in spec:
        parameter = _parameter(spec)
        if parameter.size is None or parameter.size > MOST_LISTED:
            raise ValueError("this setting has no range; `values` lists what to try")
        values = [parameter.at(place) for place in range(parameter.size)]
    if not values:
        raise ValueError("the list of values is empty")
    if probabilities is None:
        probabilities = [1 / len(values)] * len(values)
    if not isinstance(probabilities, list) or len(probabilities) != len(values):
        raise ValueError(f"needs a list of {len(values)} probabilities, one for each value")
    return list(zip(values, map(number, probabilities), strict=True))


def _read_values(listed: Listed, known: Known) -> Listed:
    """Returns the values as the setting has them. Raises _NotHadError at one that it has not."""
    values, unknown = [], []
    for value, probability in listed:
        try:
            values.append((known.read(value), probability))
        except (ValueError, KeyError, TypeError):
            unknown.append(value)
    if unknown:
        raise _NotHadError(unknown[0], [value for value, _ in listed if value not in unknown])
    return values


def _weighed(listed: Listed) -> Tree:
    """Returns a parameter of these values; what is there twice is there once, and as likely."""
    values = {canonical(value): value for value, _ in listed}
    weights = dict.fromkeys(values, 0.0)
    for value, probability in listed:
        weights[canonical(value)] += probability
    if len(values) == 1:
        return {"value": listed[0][0]}
    if len({round(weight, 9) for weight in weights.values()}) == 1:
        return {"values": [*values.values()]}
    return {"values": [*values.values()], "probabilities": [round(w, 9) for w in weights.values()]}


def _networks(found: Translation, spec: Tree) -> Tree:
    """Returns networks by the names of the library that has them all."""
    listed = _listed(spec)
    for source in ("torchvision", "timm"):
        names = [_network(source, value) for value, _ in listed]
        if all(names):
            put(found.tree, "model.source", source)
            both = zip(names, listed, strict=True)
            return _weighed([(name, probability) for name, (_, probability) in both])
    values = [value for value, _ in listed]
    there = [value for value in values if _network("torchvision", value)]
    raise _NotHadError(next(value for value in values if value not in there), there)


def _network(source: Source, value: JSON) -> str | None:
    if source == "torchvision":
        return next((name for name in torchvision_names() if plain(name) == plain(value)), None)
    try:
        weight_tags(source, str(value))
    except ValueError:
        return None
    return str(value)


def _read_filters(state: _Parameters, specs: Mapping[str, Tree]) -> None:
    """Reads the filters of the first block and how they change, which are one setting here."""
    found, key = state.found, " and ".join(f"parameters.{name}" for name in specs)
    if state.is_given(FILTERS):
        found.drop(key, f"{FILTERS} is on the command line")
        return
    counts = [name for name in specs if _is_one_of(name, NUM_FILTERS)]
    shapes = [name for name in specs if name not in counts]
    if many := next((names for names in (counts, shapes) if len(names) > 1), None):
        found.ask(key, f"{' and '.join(many)} say the same", _leave_out(many[-1]))
    elif not counts:
        answer = "--set parameters.num_filters.value=32 says it"
        found.ask(key, "the filters of the first block are not given", answer)
    else:
        try:
            _combine_filters(found, key, *(specs[name] for name in (*counts, *shapes)))
        except _NotHadError as error:
            allowed = "a number or a list of five, and same, double, half or a factor, can"
            reason = f"{shown(error.value)} cannot be had; {allowed}"
            found.ask(key, reason, _leave_out((*counts, *shapes)[-1]))
        except ValueError as error:
            found.ask(key, str(error), _leave_out((*counts, *shapes)[-1]))


def _combine_filters(found: Translation, key: str, count: Tree, shape: Tree | None = None) -> None:
    counts = _listed(drawn(count))
    if shape is None:
        if not all(isinstance(value, list | str) for value, _ in counts):
            answer = "--set parameters.filter_organisation.value=same (or double, half) says it"
            found.ask(key, "how the filters change from block to block is not given", answer)
            return
        lists = _read_values(counts, Known(FILTERS, "", five))
    else:
        pairs = list(product(counts, _listed(drawn(shape))))
        if len(pairs) > MOST_LISTED:
            raise ValueError(f"{len(pairs)} combinations are too many for one setting")
        lists = [(_filters(n, word), p * q) for (n, p), (word, q) in pairs]
    note = "the filters of the five blocks"
    _say(found, key, FILTERS, _weighed(lists), note)


def _filters(count: JSON, shape: JSON) -> list[int]:
    """Returns the filters of five blocks, each a multiple of those of the block before it."""
    try:
        factor = FACTORS[plain(shape)] if plain(shape) in FACTORS else float(number(shape))
        return [max(1, round(number(count) * factor**block)) for block in range(5)]
    except (ValueError, TypeError):
        raise _NotHadError(shape if not isinstance(count, list) else count, []) from None
