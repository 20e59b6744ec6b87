"""The parameters of a W&B sweep as settings of an experiment."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from inat_ray.config.backbones import Source, torchvision_names, weight_tags
from inat_ray.config.distributions import JSON, Tree
from inat_ray.config.experiment import Experiment
from inat_ray.config.faults import shown
from inat_ray.config.model import MODEL_KINDS
from inat_ray.config.overrides import KIND, PARAMETERS, put
from inat_ray.config.section import kind_of_field
from inat_ray.config.space import SEARCHABLE, SEED, is_within
from inat_ray.config.trial import value_at
from inat_ray.config.wandb import names as habits
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
from inat_ray.config.wandb.names import BACKBONE, FILTERS, KINDS, SCHEDULE, SETTINGS, WARMUP, Known
from inat_ray.config.wandb.translation import Translation
from inat_ray.config.wandb.values import number, plain

Found = TypeVar("Found")


Read = Callable[[], tuple[Tree, str]]
"""Returns a parameter as ours, and a note on it; raises NotHadError, or ValueError like `drawn`."""


def read_parameters(
    found: Translation, parameters: Mapping[str, JSON], *, given: Mapping[str, JSON]
) -> None:
    """Adds to `found` what each parameter is here. `given`: settings that the command line names,
    about which nothing is asked."""
    specs: dict[str, Tree] = {}
    for name, spec in parameters.items():
        if isinstance(spec, Mapping):
            specs[name] = dict(spec)
        else:
            answer = f"--set parameters.{name}.value={spec} makes it one"
            found.ask(f"parameters.{name}", f"{shown(spec)} is no mapping", answer)
    _Reader(found, given, specs).read()


@dataclass
class _Reader:
    """Reads the parameters of a sweep.

    State: `known`, the setting that each parameter is by its name; `kind`, of model; `taken`, the
    parameter that each setting is from.
    """

    found: Translation
    given: Mapping[str, JSON]
    specs: Mapping[str, Tree]
    taken: dict[str, str] = field(default_factory=dict)

    def read(self) -> None:
        self.known = {name: _known(name) for name in self.specs}
        self.kind = self._kind()
        filters: list[str] = []
        blocks: dict[str, dict[str, int]] = {}
        shares: list[str] = []
        for name in self.specs:
            if self.kind == "cnn" and _is_one_of(name, habits.NUM_FILTERS | habits.ORGANISATION):
                filters.append(name)
            elif self.kind == "cnn" and (block := _first(map(block_of, _words_of(name)))):
                blocks.setdefault(block[0], {})[name] = block[1]
            elif _is_one_of(name, habits.SHARES):
                shares.append(name)
            else:
                self._read_setting(name)
        if filters:
            allowed = "a number or a list of five, and same, double, half or a factor,"
            self._take(
                filters, FILTERS, partial(self._filters, filters), allowed, _list_those(FILTERS)
            )
        for setting, numbers in blocks.items():
            read = partial(self._blocks, setting, numbers)
            self._take([*numbers], setting, read, "whole numbers", _list_those(setting))
        for name in shares:  # they come last, since they are shares of what was read before
            setting, other = _first(map(habits.SHARES.get, _words_of(name))) or ("", "")
            answer = f"--set 'search.parameters.{setting}={{values: [...]}}' says it, "
            read = partial(self._share, name, setting, other)
            self._take([name], setting, read, answer=answer + _leave_out(name))
        self._settle_warmup()

    def _is_given(self, setting: str) -> bool:
        """Returns whether the command line says this setting."""
        return setting in self.given or f"{PARAMETERS}{setting}" in self.given

    def _take(
        self,
        names: Sequence[str],
        setting: str,
        read: Read,
        allowed: str = "",
        answer: str = "",
        group: str = "",
    ) -> None:
        """Takes these parameters for a setting, unless it is said already, or asks about them.

        `allowed`: the values that the setting takes. `answer`: how to say them in our own way.
        `group`: what the setting is another way to say.
        """
        key, group = " and ".join(f"parameters.{name}" for name in names), group or setting
        if self._is_given(group):
            self.found.drop(key, f"{group} is on the command line")
        elif group in self.taken:
            reason = f"is {group}, as parameters.{self.taken[group]} is"
            for name in names:
                self.found.ask(f"parameters.{name}", reason, _leave_out(name))
        else:
            self.taken[group] = names[0]
            try:
                self._say(key, setting, *read())
            except NotHadError as error:
                without = _leave_out(names[-1])
                if error.others and len(names) == 1:
                    others = ", ".join(map(str, error.others))
                    without = f"--set '{key}.values=[{others}]' goes on without it"
                self.found.ask(key, f"{shown(error.value)} cannot be had; {allowed} can", without)
            except ValueError as error:
                reason, *better = error.args
                if better and not better[0].startswith("--set"):  # a change of this parameter
                    better = [f"--set {key}.{better[0]}"]
                self.found.ask(key, reason, *better or [answer or _leave_out(names[-1])])

    def _say(self, key: str, setting: str, spec: Tree, note: str) -> None:
        """Adds a parameter to the search; one with a single value is a fixed setting instead."""
        found = self.found
        if "value" in spec:
            found.say(key, setting, spec["value"], note)
            if setting == SEED:  # without a parameter, each trial would get a seed of its own
                put(found.tree, f"{PARAMETERS}{SEED}", spec)
            return
        found.say(key, f"{PARAMETERS}{setting}", spec, note)
        if setting == BACKBONE or setting.startswith("model.freeze."):
            # Without the search, too, the experiment must be a whole one.
            put(found.tree, setting, as_parameter(spec).extremes[0])

    def _kind(self) -> str:
        """Returns the kind of model: that of the command line, or of networks that are named."""
        of = {name: known.setting for name, known in self.known.items() if known}
        networks = [values_in(self.specs[name]) for name in of if of[name] == BACKBONE]
        pretrained = [n for n in of if of[n].startswith(("model.freeze", "model.weights"))]
        if KIND in self.given:
            return str(self.given[KIND])
        if BACKBONE in self.given or not all(map(_is_no_network, networks)):
            put(self.found.tree, KIND, "pretrained")
            return "pretrained"
        if pretrained:
            reason = "only a pre-trained network has it, and the sweep names none"
            answer = "--set parameters.backbone.value=resnet50 names one"
            self.found.ask(f"parameters.{pretrained[0]}", reason, answer)
        return "cnn"

    def _read_setting(self, name: str) -> None:
        """Reads a parameter that is a setting of its own."""
        spec, known, key = self.specs[name], self.known[name], f"parameters.{name}"
        setting = setting_at(known.setting, kind=self.kind) if known else None
        if setting is None and self.kind == "module" and not _is_one_of(name, habits.NOT_NEEDED):
            known = Known(f"model.args.{name.rpartition('.')[2]}", KINDS["as it is"])
            setting = setting_at("model.args", kind="module")
        if known is None:
            self._read_unknown(name)
            return
        if known.setting == "model.freeze.k" and not any(map(_is_number, values_in(spec) or [0])):
            known = SETTINGS["freeze"]  # whether layers are frozen, and not how many
            setting = setting_at(known.setting, kind=self.kind)
        if self._is_given(known.setting):
            self.found.drop(key, f"{known.setting} is on the command line")
        elif known.setting == BACKBONE and _is_no_network(values_in(spec)):
            self.found.say(key, KIND, "cnn")
        elif setting is None:
            reason = f"{KIND} {self.kind} has no {known.setting.removeprefix('model.')}"
            self.found.ask(key, reason, _leave_out(name))
        else:
            # What is frozen is one setting, however it is said.
            group = "model.freeze" if known.setting.startswith("model.freeze") else ""
            read = partial(self._setting, spec, known, setting)
            self._take([name], known.setting, read, allowed=known.kind.allowed, group=group)

    def _setting(self, spec: Tree, known: Known, setting: FieldInfo) -> tuple[Tree, str]:
        ours, note = drawn(spec), known.note
        if known.setting == BACKBONE:
            ours = self._networks(ours)
        elif "distribution" not in ours or not known.kind.has_ranges:
            ours = weighed(read_values(listed(ours), known.kind.read))
        else:
            ours = kept_inside(ours, setting)
            is_whole = ours["distribution"] == "int_uniform" and "distribution" not in spec
            if is_whole and kind_of_field(setting) == "fractional":
                note = "whole numbers alone, as W&B reads two whole bounds"
            elif "normal" in ours["distribution"] and ours.keys() & {"min", "max"} - spec.keys():
                note = "kept within what the setting takes"
        for other, value in known.also.items():
            put(self.found.tree, other, value)
        return ours, note

    def _networks(self, spec: Tree) -> Tree:
        """Returns networks by the names of the library that has them all."""
        given = listed(spec)
        for source in ("torchvision", "timm"):
            names = [_network(source, value) for value, _ in given]
            if all(names):
                put(self.found.tree, "model.source", source)
                return weighed([(n, share) for n, (_, share) in zip(names, given, strict=True)])
        values = [value for value, _ in given]
        there = [value for value in values if _network("torchvision", value)]
        raise NotHadError(next(value for value in values if value not in there), there)

    def _read_unknown(self, name: str) -> None:
        """Reads what is no setting: it is not needed, is so already, or is asked about."""
        key, words = f"parameters.{name}", [*_words_of(name)]
        if reason := _first(map(habits.NOT_NEEDED.get, words)):
            self.found.drop(key, reason)
            return
        if always := _first(map(habits.ALREADY_SO.get, words)):
            values = {plain(value) for value in values_in(self.specs[name])}
            if values and values <= always[0]:
                self.found.drop(key, always[1])
                return
            reason = f"{always[1]}, and that cannot be changed"
        elif (reason := _first(map(habits.NO_COUNTERPART.get, words))) is None:
            if any(stem in habits.DENSE for stem, _ in filter(None, map(numbered, words))):
                reason = "the CNN has one dense layer before the output layer"
            else:
                close = get_close_matches(words[-1], SETTINGS, n=1, cutoff=0.8)
                hint = f" (is it {SETTINGS[close[0]].setting}?)" if close else ""
                reason = f"there is no setting of that name here{hint}"
        self.found.ask(key, reason, _leave_out(name))

    def _filters(self, names: Sequence[str]) -> tuple[Tree, str]:
        """Returns the filters of the first block and how they change, one setting here."""
        counts = [name for name in names if _is_one_of(name, habits.NUM_FILTERS)]
        shapes = [name for name in names if name not in counts]
        if many := next((each for each in (counts, shapes) if len(each) > 1), None):
            raise ValueError(f"{' and '.join(many)} say the same", _leave_out(many[-1]))
        if not counts:
            answer = "--set parameters.num_filters.value=32 says it"
            raise ValueError("the filters of the first block are not given", answer)
        count = self.specs[counts[0]]
        if not shapes and any(map(_is_number, values_in(count) or [0])):
            answer = "--set parameters.filter_organisation.value=same (or double, half) says it"
            raise ValueError("how the filters change from block to block is not given", answer)
        shape = self.specs[shapes[0]] if shapes else None
        return of_first_and_shape(count, shape), "of the five blocks"

    def _blocks(self, setting: str, numbers: Mapping[str, int]) -> tuple[Tree, str]:
        """Returns a parameter for each of the five blocks, one setting here."""
        specs = {block: self.specs[name] for name, block in numbers.items()}
        if len(specs) < len(numbers):
            raise ValueError("two of them are of the same block", _leave_out([*numbers][-1]))
        return of_each_block(setting, specs), "of the five blocks"

    def _share(self, name: str, setting: str, other: str) -> tuple[Tree, str]:
        """Returns what is a share of `other` here, if the sweep has one number for that."""
        whole = self.given.get(other, value_at(self.found.tree, other))
        if not (_is_number(whole) and number(whole) > 0):
            raise ValueError(
                f"is {setting} here, a share of {other}, for which the sweep has no single number"
            )
        return shared(drawn(self.specs[name]), number(whole)), f"as a share of {other} {whole}"

    def _settle_warmup(self) -> None:
        """Leaves out the warm-up with which ours begin, where the sweep's schedules have none."""
        names = [name for name, one in self.known.items() if one and one.setting == SCHEDULE]
        schedules = {plain(value) for name in names for value in values_in(self.specs[name])}
        is_said = self.found.holds(WARMUP) or any(map(self._is_given, (WARMUP, SCHEDULE)))
        if (
            schedules & habits.NO_WARMUP
            and schedules <= habits.NO_WARMUP | habits.CONSTANT
            and not is_said
        ):
            self.found.say("", WARMUP, 0.0, "cosine annealing begins at its peak")


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


def _words_of(name: str) -> Iterator[str]:
    """Yields what a dotted name may be called in the tables, without the groups that it is in."""
    parts = [plain(part) for part in name.replace("/", ".").split(".")]
    for k in range(len(parts)):
        if all(part in habits.GROUPS for part in parts[:k]):
            yield "".join(parts[k:])


def _first(found: Iterable[Found | None]) -> Found | None:
    return next((each for each in found if each is not None), None)


def _is_one_of(name: str, table: Container[str]) -> bool:
    return any(words in table for words in _words_of(name))


def _known(name: str) -> Known | None:
    if known := _first(map(SETTINGS.get, _words_of(name))):
        return known
    for stem, number_ in filter(None, map(numbered, _words_of(name))):
        if number_ <= 1 and stem in habits.DENSE:
            return SETTINGS[stem]
    is_ours = is_within(name, SEARCHABLE) and setting_at(name)
    return Known(name, KINDS["as it is"]) if is_ours else None


def _is_no_network(values: list[JSON]) -> bool:
    return bool(values) and all(plain(value) in habits.NO_NETWORK for value in values)


def _is_number(value: JSON) -> bool:
    try:
        return number(value) is not None
    except ValueError:
        return False


def _leave_out(name: str) -> str:
    return f"--set parameters.{name}=null leaves it out"


def _list_those(setting: str) -> str:
    return f"--set 'search.parameters.{setting}={{values: [[...], ...]}}' lists those to try"


def _network(source: Source, value: JSON) -> str | None:
    if source == "torchvision":
        return next((name for name in torchvision_names() if plain(name) == plain(value)), None)
    try:
        weight_tags(source, str(value))
    except ValueError:
        return None
    return str(value)
