"""The search space: what a sweep may vary, and which points it has."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import compress, islice

import numpy as np

from inat_ray.config.distributions import JSON, Categorical, Codes, Parameter, canonical
from inat_ray.config.errors import UserError, about
from inat_ray.config.experiment import Experiment
from inat_ray.config.held_values import as_written, of_parameter, own_values, tried
from inat_ray.config.model import MODEL_KINDS
from inat_ray.config.overrides import KIND
from inat_ray.config.parameter_spec import parse_parameter
from inat_ray.config.search import MAX_TRIALS
from inat_ray.config.section import kind_of
from inat_ray.config.trial import experiment_at

SEED = "seed"
"""The parameter in which trials of one configuration differ."""

IMAGE_SIZE = "data.image_size"

SEARCHABLE = (SEED, "model", "recipe", IMAGE_SIZE)
"""What a sweep may vary, with all below. All else (data, split) is the same for every trial."""

NOT_SEARCHED = {
    "model.sha256": "is set when a run begins, and not searched",
    "recipe.keep": "decides which model is kept, and a trial keeps none",
    "recipe.calibrate": "is for the model that is kept, and a trial keeps none",
}
"""Settings below these that no sweep varies, and why."""

Conditions = Mapping[str, Mapping[str, tuple[JSON, ...]]]
"""Parameter -> {another above it: the values of that one for which it exists}."""


@dataclass(frozen=True)
class SearchSpace:
    """The parameters that a sweep varies, and how their values are drawn."""

    parameters: Mapping[str, Parameter]
    """By the dotted names of their settings. One that depends on another comes after it."""
    conditions: Conditions = field(default_factory=dict)
    first: tuple[dict[str, JSON], ...] = ()
    """Points to be tried first."""
    base: Mapping[str, JSON] | None = None
    """The experiment's own values, if this is the space of an ablation."""

    def from_units(self, units: Mapping[str, float]) -> dict[str, JSON]:
        """Returns the point at these quantiles, without parameters whose condition it fails."""
        return self.existing({n: p.from_unit(units[n]) for n, p in self.parameters.items()})

    def existing(self, point: Mapping[str, JSON]) -> dict[str, JSON]:
        """Returns `point` without the parameters whose condition it fails."""
        # From the top: without a parameter, those that depend on it do not exist either.
        kept: dict[str, JSON] = {}
        for name in self.parameters:
            if name in point and self.exists(name, kept):
                kept[name] = point[name]
        return kept

    def exists(self, name: str, point: Mapping[str, JSON]) -> bool:
        """Returns whether a point with these values of the parameters above has this one."""
        return all(
            other in point and canonical(point[other]) in map(canonical, values)
            for other, values in self.conditions.get(name, {}).items()
        )

    @cached_property
    def grid(self) -> list[dict[str, JSON]] | None:
        """Every point, the parameter listed last varying fastest; None if more than MAX_TRIALS.

        An ablation has those points alone that differ from the experiment in one value at most.
        """
        if self.base is not None:
            return self._changes(self.base)
        points: list[dict[str, JSON]] = [{}]
        for name, parameter in self.parameters.items():
            if parameter.size is None:
                return None
            wide = [self.exists(name, point) for point in points]
            # Counted before they are made: a range of whole numbers may have billions.
            if sum(parameter.size if w else 1 for w in wide) > MAX_TRIALS:
                return None
            points = [
                wider
                for point, exists in zip(points, wide, strict=True)
                for wider in (_widened(point, name, parameter) if exists else [point])
            ]
        return points

    def _changes(self, base: Mapping[str, JSON]) -> list[dict[str, JSON]]:
        """Returns `base`, then each change of one value; each of them with every seed."""
        changed = [dict(base)]
        for name, parameter in self.parameters.items():
            if name != SEED:
                assert isinstance(parameter, Categorical)
                changed += [{**base, name: value} for value in parameter.values]
        seeds = self.parameters.get(SEED)
        if seeds is not None:
            changed = [wider for point in changed for wider in _widened(point, SEED, seeds)]
        existing = [self.existing(point) for point in changed]
        return list({canonical(point): point for point in existing}.values())

    def codes(self, point: Mapping[str, JSON]) -> Codes:
        """Returns a code for each parameter, NaN for one that the point does not have.

        NaN, too, where its value is none of the space: a person may have narrowed a range since.
        """
        if id(point) not in self._known_codes:
            codes = [
                p.code(point[n]) if n in point and p.contains(point[n]) else np.nan
                for n, p in self.parameters.items()
            ]
            self._known_codes[id(point)] = (point, np.array(codes))
        return self._known_codes[id(point)][1]

    @cached_property
    def _known_codes(self) -> dict[int, tuple[Mapping[str, JSON], Codes]]:
        # A searcher asks for those of every trial again and again. The key is the point's identity,
        # since making a text of it would take as long as its codes; the point is kept with them, or
        # another could come to lie at its address.
        return {}

    @cached_property
    def grid_names(self) -> list[str]:
        """The grid's points as `canonical` writes them."""
        return [canonical(point) for point in self.grid or ()]

    @cached_property
    def grid_codes(self) -> Codes:
        """Shape (points of the grid, parameters)."""
        return np.array([self.codes(point) for point in self.grid or ()])


def _widened(point: dict[str, JSON], name: str, parameter: Parameter) -> list[dict[str, JSON]]:
    assert parameter.size is not None
    return [point | {name: parameter.at(place)} for place in range(parameter.size)]


def search_space(experiment: Experiment, *, where: str = "experiment") -> SearchSpace:
    """Returns the space of `experiment.search.parameters`, each value tried on the experiment.

    Raises UserError naming `where` (the file), the parameter, the value and what is allowed.
    """
    parameters: dict[str, Parameter] = {}
    conditions: dict[str, dict[str, tuple[JSON, ...]]] = {}
    for name, spec in experiment.search.parameters.items():
        with about(f"{where}: search.parameters.{name}"):
            _check_name(name, above=parameters)
            if "when" in spec:
                with about(".when"):
                    conditions[name] = _condition(spec["when"], experiment, above=parameters)
            above = SearchSpace(parameters, conditions)
            parameters[name] = _parameter(experiment, name, spec, above=above)
    base = own_values(experiment) if experiment.search.method == "ablation" else None
    space = SearchSpace(parameters, conditions, base=base)
    _check_grid(space, experiment, where=where)
    first = []
    for number, given in enumerate(experiment.search.first):
        with about(f"{where}: search.first[{number}]"):
            first.append(_first_point(experiment, given, space=space))
    return replace(space, first=tuple(first))


def changed_space(
    space: SearchSpace,
    experiment: Experiment,
    specs: Mapping[str, Mapping[str, JSON]],
    *,
    where: str = "experiment",
) -> SearchSpace:
    """Returns the space with other bounds or values of some parameters, under the same conditions.

    First points that it has no longer are left out. Raises UserError as `search_space`, and where a
    parameter would become one of another kind.
    """
    parameters, names = dict(space.parameters), list(space.parameters)
    for name, spec in specs.items():
        above = SearchSpace(dict(islice(parameters.items(), names.index(name))), space.conditions)
        with about(f"{where}: search.parameters.{name}"):
            parameters[name] = _parameter(experiment, name, spec, above=above)
            if _kind(parameters[name]) != _kind(space.parameters[name]):
                raise UserError(
                    "a range stays a range on its scale, and a choice a choice; other bounds or"
                    " values are allowed"
                )
    changed = replace(space, parameters=parameters)
    _check_grid(changed, experiment, where=where)
    has = (all(parameters[n].contains(value) for n, value in p.items()) for p in space.first)
    return replace(changed, first=tuple(compress(space.first, has)))


def _kind(parameter: Parameter) -> JSON:
    return isinstance(parameter, Categorical) or (parameter.scale, parameter.integer)


def is_within(name: str, sections: Iterable[str]) -> bool:
    """Returns whether a dotted name is one of these settings, or below one of them."""
    return any(name == each or name.startswith(f"{each}.") for each in sections)


def _check_name(name: str, *, above: Iterable[str]) -> None:
    if not is_within(name, SEARCHABLE):
        raise UserError(
            "a sweep varies seed, data.image_size, and settings below model and recipe;"
            " all else is the same for every trial"
        )
    if name in NOT_SEARCHED:
        raise UserError(NOT_SEARCHED[name])
    if part := next((each for each in above if each.startswith(f"{name}.")), None):
        raise UserError(f"would replace {part}, which stands above it; list it first")
    of_models = [each for each in above if is_within(each, ["model"])]
    if name == KIND and of_models:
        raise UserError(f"decides which settings there are; list it above {of_models[0]}")


def _wanted_above(name: str, above: SearchSpace) -> dict[str, list[JSON]]:
    """Returns the parameters above on which this one depends, however far, with their values."""
    wanted: dict[str, list[JSON]] = {}
    dependent = [name]
    while dependent:
        for other, values in above.conditions.get(dependent.pop(), {}).items():
            taken = [*map(canonical, values)]
            wanted[other] = [v for v in wanted.get(other, values) if canonical(v) in taken]
            if not wanted[other]:
                raise UserError(f".when: never holds: another condition excludes this {other}")
            dependent.append(other)
    return wanted


def _check_kinds(name: str, above: SearchSpace, wanted: Mapping[str, list[JSON]]) -> None:
    """Raises UserError where a kind of model that is searched does not have the setting."""
    kinds = above.parameters.get(KIND)
    if not isinstance(kinds, Categorical) or not name.startswith("model."):
        return
    setting, given = name.split(".")[1], wanted.get(KIND, kinds.values)
    having = [kind for kind in given if setting in MODEL_KINDS[kind].model_fields]
    lacking = [kind for kind in given if kind not in having]
    if having and lacking:
        which = having[0] if len(having) == 1 else f"[{', '.join(having)}]"
        raise UserError(
            f"{KIND} {lacking[0]} has no setting {setting}; give it when: {{{KIND}: {which}}}"
        )


def _met(wanted: Mapping[str, list[JSON]], above: SearchSpace) -> dict[str, JSON]:
    """Returns values of parameters above with which one exists: what it wants, and constants."""
    point = {name: values[0] for name, values in wanted.items()}
    for name, parameter in above.parameters.items():
        is_constant = isinstance(parameter, Categorical) and len(parameter.values) == 1
        if name not in point and is_constant and above.exists(name, point):
            point[name] = parameter.extremes[0]
    return point


def _parameter(experiment: Experiment, name: str, spec: JSON, *, above: SearchSpace) -> Parameter:
    """Returns a parameter whose values, or ends, the experiment takes.

    `above`: the parameters on which it may depend.
    """
    wanted = _wanted_above(name, above)
    _check_kinds(name, above, wanted)
    met = _met(wanted, above)
    setting = kind_of(experiment_at(experiment, met) or experiment, name)
    parameter = parse_parameter(spec, kind=setting)
    held = [tried(experiment, name, each, met=met) for each in parameter.extremes]
    is_changed = experiment.search.method == "ablation" and name != SEED
    if not isinstance(parameter, Categorical):
        if is_changed:
            raise UserError(
                "an ablation changes a value for another, and this is a range;"
                " allowed: constant, categorical"
            )
        return parameter
    twice = [value for value, count in Counter(map(canonical, held)).items() if count > 1]
    if twice:
        raise UserError(f".values: duplicate value {twice[0]}; use `probabilities` to weigh")
    if not is_changed:
        return replace(parameter, values=tuple(map(as_written, held, parameter.values)))
    # As the experiment holds them: its own value, written another way, is no change.
    changes, own = replace(parameter, values=tuple(held)), own_values(experiment)
    if name not in own or changes.contains(own[name]):
        return changes
    return changes.with_value(own[name])


def _condition(
    when: JSON, experiment: Experiment, *, above: Mapping[str, Parameter]
) -> dict[str, tuple[JSON, ...]]:
    """Returns `when` as {parameter: values}. Raises UserError where it can never hold."""
    if not isinstance(when, Mapping) or not when:
        raise UserError(f"{when}: should be a mapping of parameters above to values")
    found = {}
    for name, wanted in when.items():
        if name not in above:
            known = ", ".join(above) or "none"
            raise UserError(f"{name}: is not declared above this parameter; available: {known}")
        # A list is several values, unless the parameter's own values are lists and it is one.
        several = isinstance(wanted, list) and not above[name].contains(wanted)
        given = wanted if several else [wanted]
        if not given:
            raise UserError(f".{name}: the list is empty; at least one value is needed")
        found[name] = tuple(of_parameter(experiment, name, each, above[name]) for each in given)
        for value in found[name]:
            if not above[name].contains(value):
                raise UserError(f".{name}: {value}: is no value of that parameter")
    return found


def _check_grid(space: SearchSpace, experiment: Experiment, *, where: str) -> None:
    """Raises UserError where a search of every point would have too many."""
    if not experiment.search.is_exhaustive:
        return
    with about(f"{where}: search.parameters"):
        for name, parameter in space.parameters.items():
            if parameter.size is None:
                raise UserError(
                    f".{name}: a grid tries every value, and this range has no end of them;"
                    " allowed: constant, categorical, int_uniform, q_uniform, q_log_uniform_values"
                )
        if space.grid is None:
            raise UserError(f"a grid of more than {MAX_TRIALS:,} points; that is the most")


def _first_point(
    experiment: Experiment, given: Mapping[str, JSON], *, space: SearchSpace
) -> dict[str, JSON]:
    """Returns a point of `search.first`. Raises UserError where the space does not have it."""
    for name in given:
        if name not in space.parameters:
            raise UserError(f"{name}: is no parameter of search.parameters")
    fitting = {
        name: of_parameter(experiment, name, value, space.parameters[name])
        for name, value in given.items()
    }
    kind = {KIND: fitting[KIND]} if KIND in fitting else {}
    own = own_values(experiment_at(experiment, kind) or experiment)
    point = space.existing({**own, **fitting})
    for name in space.parameters:
        if name not in point and space.exists(name, point):
            raise UserError(f"{name}: is missing; the experiment has no value of its own")
    for name, value in point.items():
        if not space.parameters[name].contains(value):
            origin = "" if name in given else ", which is the experiment's own,"
            raise UserError(f"{name}: {value}{origin} is no value that the space has")
    return point
