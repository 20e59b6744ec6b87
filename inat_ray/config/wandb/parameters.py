"""The parameters of a W&B sweep as settings of an experiment."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from inat_ray.config.backbones import Source, torchvision_names, weight_tags
from inat_ray.config.experiment import Experiment
from inat_ray.config.faults import shown
from inat_ray.config.model import MODEL_KINDS
from inat_ray.config.overrides import KIND, PARAMETERS, put
from inat_ray.config.section import kind_of_field
from inat_ray.config.space import SEARCHABLE, SEED, is_within
from inat_ray.config.trial import value_at
from inat_ray.config.wandb.blocks import block_of, numbered, of_each_block, of_first_and_shape
from inat_ray.config.wandb.choices import (
    NotHadError,
    as_parameter,
    listed,
    read_values,
    shared,
    values_in,
    weighed,
)
from inat_ray.config.wandb.distributions import drawn, kept_inside
from inat_ray.config.wandb.names import (
    ALREADY_SO,
    BACKBONE,
    CONSTANT,
    DENSE,
    FILTERS,
    NO_COUNTERPART,
    NO_NETWORK,
    NO_WARMUP,
    NOT_NEEDED,
    NUM_FILTERS,
    ORGANISATION,
    SCHEDULE,
    SECTIONS,
    SETTINGS,
    SHARES,
    WARMUP,
    Known,
)
from inat_ray.config.wandb.translation import Translation
from inat_ray.config.wandb.values import as_it_is, number, plain

Found = TypeVar("Found")

JSON = Any
Tree = dict[str, Any]


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
    blocks: dict[str, dict[str, tuple[int, Tree]]] = {}
    shares: dict[str, Tree] = {}
    for name, spec in mappings.items():
        if state.kind == "cnn" and _is_one_of(name, NUM_FILTERS | ORGANISATION):
            filters[name] = spec
        elif state.kind == "cnn" and (block := _first(map(block_of, _words_of(name)))):
            blocks.setdefault(block[0], {})[name] = (block[1], spec)
        elif _is_one_of(name, {*SHARES}):
            shares[name] = spec
        else:
            _read(state, name, spec, known[name])
    if filters:
        _read_filters(state, filters)
    for setting, given_blocks in blocks.items():
        _read_blocks(state, setting, given_blocks)
    for name, spec in shares.items():
        _read_share(state, name, spec)
    _settle_warmup(state, mappings, known)


def _words_of(name: str) -> Iterator[str]:
    """Yields what a dotted name may be called in the tables, without the groups that it is in."""
    parts = [plain(part) for part in name.replace("/", ".").split(".")]
    for k in range(len(parts)):
        if all(part in SECTIONS for part in parts[:k]):
            yield "".join(parts[k:])


def _first(found: Iterable[Found | None]) -> Found | None:
    return next((each for each in found if each is not None), None)


def _is_one_of(name: str, table: set[str]) -> bool:
    return any(words in table for words in _words_of(name))


def _known(name: str) -> Known | None:
    if known := _first(SETTINGS.get(words) for words in _words_of(name)):
        return known
    for stem, number_ in filter(None, map(numbered, _words_of(name))):
        if number_ <= 1 and (known := SETTINGS.get(stem)) and known.setting == "model.dense":
            return known
    return Known(name, "", as_it_is) if is_within(name, SEARCHABLE) and setting_at(name) else None


def _choose_kind(
    state: _Parameters, specs: Mapping[str, Tree], known: Mapping[str, Known | None]
) -> None:
    """Decides on the kind of model: by the command line, by networks that are named, or the CNN."""
    of = {name: one.setting for name, one in known.items() if one}
    networks = [values_in(specs[name]) for name in of if of[name] == BACKBONE]
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
    if known.setting == "model.freeze.k" and not any(map(_is_number, values_in(spec) or [0])):
        known = SETTINGS["freeze"]  # whether layers are frozen, and not how many
        setting = setting_at(known.setting, kind=state.kind)
    # What is frozen is one setting, however it is said.
    group = "model.freeze" if known.setting.startswith("model.freeze") else known.setting
    if state.is_given(known.setting):
        found.drop(key, f"{known.setting} is on the command line")
    elif known.setting == BACKBONE and _is_no_network(values_in(spec)):
        found.say(key, KIND, "cnn")
    elif setting is None:
        reason = f"{KIND} {state.kind} has no {known.setting.removeprefix('model.')}"
        found.ask(key, reason, _leave_out(name))
    elif not _is_taken(state, group, [name]):
        _read_known(state, key, spec, known, setting)


def _leave_out(name: str) -> str:
    return f"--set parameters.{name}=null leaves it out"


def _read_unknown(found: Translation, name: str, spec: Tree) -> None:
    """Reads a parameter that is no setting: it is not needed, is so already, or is asked about."""
    key, words = f"parameters.{name}", [*_words_of(name)]
    if reason := _first(NOT_NEEDED.get(each) for each in words):
        found.drop(key, reason)
    elif always := _first(ALREADY_SO.get(each) for each in words):
        values = {plain(value) for value in values_in(spec)}
        if values and values <= always[0]:
            found.drop(key, always[1])
        else:
            found.ask(key, f"{always[1]}, and that cannot be changed", _leave_out(name))
    elif reason := _first(NO_COUNTERPART.get(each) for each in words):
        found.ask(key, reason, _leave_out(name))
    elif any(stem in DENSE for stem, _ in filter(None, map(numbered, words))):
        found.ask(key, "the CNN has one dense layer before the output layer", _leave_out(name))
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
            ours = weighed(read_values(listed(ours), known.read))
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
    except NotHadError as error:
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
        put(found.tree, setting, as_parameter(spec).extremes[0])


def _networks(found: Translation, spec: Tree) -> Tree:
    """Returns networks by the names of the library that has them all."""
    given = listed(spec)
    for source in ("torchvision", "timm"):
        names = [_network(source, value) for value, _ in given]
        if all(names):
            put(found.tree, "model.source", source)
            both = zip(names, given, strict=True)
            return weighed([(name, probability) for name, (_, probability) in both])
    values = [value for value, _ in given]
    there = [value for value in values if _network("torchvision", value)]
    raise NotHadError(next(value for value in values if value not in there), there)


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
    found, key = state.found, _key_of(specs)
    counts = [name for name in specs if _is_one_of(name, NUM_FILTERS)]
    shapes = [name for name in specs if name not in counts]
    if _is_taken(state, FILTERS, specs):
        return
    if many := next((names for names in (counts, shapes) if len(names) > 1), None):
        found.ask(key, f"{' and '.join(many)} say the same", _leave_out(many[-1]))
    elif not counts:
        answer = "--set parameters.num_filters.value=32 says it"
        found.ask(key, "the filters of the first block are not given", answer)
    elif not shapes and any(map(_is_number, values_in(specs[counts[0]]) or [0])):
        answer = "--set parameters.filter_organisation.value=same (or double, half) says it"
        found.ask(key, "how the filters change from block to block is not given", answer)
    else:
        count, shape = specs[counts[0]], specs[shapes[0]] if shapes else None
        allowed = "a number or a list of five, and same, double, half or a factor, can"
        _say_lists(found, FILTERS, specs, allowed, lambda: of_first_and_shape(count, shape))


def _read_blocks(state: _Parameters, setting: str, specs: Mapping[str, tuple[int, Tree]]) -> None:
    """Reads a parameter for each of the five blocks, which are one setting here."""
    by_number = dict(specs.values())
    if len(by_number) < len(specs):
        reason = "two of them are of the same block"
        state.found.ask(_key_of(specs), reason, _leave_out([*specs][-1]))
    elif not _is_taken(state, setting, specs):
        read = partial(of_each_block, setting, by_number)
        _say_lists(state.found, setting, specs, "whole numbers can", read)


def _is_taken(state: _Parameters, setting: str, names: Iterable[str]) -> bool:
    """Returns whether the command line, or another parameter, says this setting already.

    If so, that is said; if not, these parameters take it.
    """
    names = [*names]
    if state.is_given(setting):
        state.found.drop(_key_of(names), f"{setting} is on the command line")
    elif setting in state.taken:
        reason = f"is {setting}, as parameters.{state.taken[setting]} is"
        for name in names:
            state.found.ask(f"parameters.{name}", reason, _leave_out(name))
    else:
        state.taken[setting] = names[0]
        return False
    return True


def _say_lists(
    found: Translation, setting: str, names: Iterable[str], allowed: str, read: Callable[[], Tree]
) -> None:
    names = [*names]
    try:
        _say(found, _key_of(names), setting, read(), "of the five blocks")
    except NotHadError as error:
        reason = f"{shown(error.value)} cannot be had; {allowed}"
        found.ask(_key_of(names), reason, _leave_out(names[-1]))
    except ValueError as error:
        answer = f"--set 'search.parameters.{setting}={{values: [[...], ...]}}' lists those to try"
        found.ask(_key_of(names), str(error), answer)


def _key_of(names: Iterable[str]) -> str:
    return " and ".join(f"parameters.{name}" for name in names)


def _read_share(state: _Parameters, name: str, spec: Tree) -> None:
    """Reads what is a share of another setting here, if the sweep has one number for that."""
    found, key = state.found, f"parameters.{name}"
    setting, other = _first(SHARES.get(words) for words in _words_of(name)) or ("", "")
    whole = state.given.get(other, value_at(found.tree, other))
    if _is_taken(state, setting, [name]):
        return
    try:
        if not (_is_number(whole) and number(whole) > 0):
            raise ValueError(
                f"is {setting} here, a share of {other}, for which the sweep has no single number"
            )
        ours = shared(drawn(spec), number(whole))
    except ValueError as error:
        answer = f"--set 'search.parameters.{setting}={{values: [...]}}' says it"
        found.ask(key, str(error), f"{answer}, {_leave_out(name)}")
    else:
        _say(found, key, setting, ours, f"as a share of {other} {whole}")


def _is_number(value: JSON) -> bool:
    try:
        return number(value) is not None
    except ValueError:
        return False


def _settle_warmup(
    state: _Parameters, specs: Mapping[str, Tree], known: Mapping[str, Known | None]
) -> None:
    """Leaves out the warm-up with which ours begin, where the sweep's schedules have none."""
    found = state.found
    names = [name for name, one in known.items() if one and one.setting == SCHEDULE]
    schedules = {plain(value) for name in names for value in values_in(specs[name])}
    is_said = found.holds(WARMUP) or state.is_given(WARMUP) or state.is_given(SCHEDULE)
    if schedules & NO_WARMUP and schedules <= NO_WARMUP | CONSTANT and not is_said:
        found.say("", WARMUP, 0.0, "cosine annealing begins at its peak")
