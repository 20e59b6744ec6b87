"""The search space: what a sweep may vary, and which points it has."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from pydantic import ValidationError

from inat_ray.config.distributions import (
    JSON,
    Categorical,
    Codes,
    Parameter,
    canonical,
    parse_parameter,
)
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import explain, explain_details, key_of, shown
from inat_ray.config.search import MAX_TRIALS
from inat_ray.config.section import kind_of

SEED = "seed"
"""The parameter in which the trials of one configuration differ."""

SEARCHABLE = (SEED, "model", "recipe")
"""What a sweep may vary: all else (data, split) is the same for every trial."""

Conditions = Mapping[str, Mapping[str, tuple[JSON, ...]]]
"""Parameter -> {another parameter: its values for which the first one exists}."""


@dataclass(frozen=True)
class SearchSpace:
    """Dotted name of a setting -> how its value is drawn, and for which values of others."""

    parameters: Mapping[str, Parameter]
    conditions: Conditions = field(default_factory=dict)
    first: tuple[dict[str, JSON], ...] = ()
    """Points to be tried first."""
    base: Mapping[str, JSON] | None = None
    """Of an ablation: the experiment's own values."""

    def from_units(self, units: Mapping[str, float]) -> dict[str, JSON]:
        """The point at these quantiles; without the parameters whose condition it fails."""
        point: dict[str, JSON] = {}
        for name, parameter in self.parameters.items():
            if self.exists(name, point):
                point[name] = parameter.from_unit(units[name])
        return point

    def existing(self, point: Mapping[str, JSON]) -> dict[str, JSON]:
        """`point` without the parameters whose condition it fails."""
        kept: dict[str, JSON] = {}
        for name in self.parameters:
            if name in point and self.exists(name, kept):
                kept[name] = point[name]
        return kept

    def exists(self, name: str, point: Mapping[str, JSON]) -> bool:
        """Whether a point has the parameter, given its values of the parameters above."""
        return all(
            other in point and canonical(point[other]) in map(canonical, values)
            for other, values in self.conditions.get(name, {}).items()
        )

    @cached_property
    def grid(self) -> list[dict[str, JSON]] | None:
        """Every point, the parameter listed last varying fastest; None if more than MAX_TRIALS.

        Of an ablation, the points that differ from the experiment in one value at most.
        """
        if self.base is not None:
            return self._changes(self.base)
        points: list[dict[str, JSON]] = [{}]
        for name, parameter in self.parameters.items():
            if parameter.size is None:
                return None
            wide = [self.exists(name, point) for point in points]
            if sum(parameter.size if w else 1 for w in wide) > MAX_TRIALS:
                return None
            points = [
                wider
                for point, exists in zip(points, wide, strict=True)
                for wider in (_widened(point, name, parameter) if exists else [point])
            ]
        return points

    def _changes(self, base: Mapping[str, JSON]) -> list[dict[str, JSON]]:
        """`base`, then each value of each parameter in its place; each of them with every seed."""
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
        """A code for each parameter, NaN for one that the point has not."""
        if id(point) not in self._known_codes:
            codes = [p.code(point[n]) if n in point else np.nan for n, p in self.parameters.items()]
            self._known_codes[id(point)] = (point, np.array(codes))
        return self._known_codes[id(point)][1]

    @cached_property
    def _known_codes(self) -> dict[int, tuple[Mapping[str, JSON], Codes]]:
        """By identity: a searcher asks for those of every trial again and again.

        A point is kept with its codes, so that its identity stays its own.
        """
        return {}

    @cached_property
    def grid_names(self) -> list[str]:
        """The grid's points as `canonical` writes them."""
        return [canonical(point) for point in self.grid or ()]

    @cached_property
    def grid_codes(self) -> Codes:
        """(points of the grid, parameters)."""
        return np.array([self.codes(point) for point in self.grid or ()])


def _widened(point: dict[str, JSON], name: str, parameter: Parameter) -> list[dict[str, JSON]]:
    assert parameter.size is not None
    return [point | {name: parameter.at(place)} for place in range(parameter.size)]


def search_space(experiment: Experiment, *, where: str = "experiment") -> SearchSpace:
    """The space of `experiment.search.parameters`, each value tried on the experiment.

    Raises UserError naming `where` (the file), the parameter, the value and what is allowed.
    """
    parameters: dict[str, Parameter] = {}
    conditions: dict[str, dict[str, tuple[JSON, ...]]] = {}
    base = _own_values(experiment) if experiment.search.method == "ablation" else None
    for name, spec in experiment.search.parameters.items():
        place = f"{where}: search.parameters.{name}"
        _check_searchable(name, place)
        if "when" in spec:
            conditions[name] = _condition(
                spec["when"], experiment=experiment, above=parameters, place=f"{place}.when"
            )
        if part := next((each for each in parameters if each.startswith(f"{name}.")), None):
            raise UserError(f"{place}: would replace {part}, which stands above it; list it first")
        met = _first_met(conditions.get(name, {}))
        parameters[name] = _parameter(experiment, name, spec, met=met, place=place)
        if base is not None and name != SEED:
            parameters[name] = _changes_of(
                experiment, name, parameters[name], own=base[name], met=met, place=place
            )
    space = SearchSpace(parameters, conditions, base=base)
    if experiment.search.is_exhaustive:
        _check_grid(space, f"{where}: search.parameters")
    first = [
        _first_point(experiment, given, space=space, place=f"{where}: search.first[{number}]")
        for number, given in enumerate(experiment.search.first)
    ]
    return replace(space, first=tuple(first))


def _check_searchable(name: str, place: str) -> None:
    if name.split(".", maxsplit=1)[0] not in SEARCHABLE:
        raise UserError(
            f"{place}: a sweep varies seed, and settings below model and recipe;"
            " data and split are the same for every trial"
        )
    if name == "model.kind":
        raise UserError(
            f"{place}: each kind has settings of its own; list whole models, as in"
            " model: {values: [{kind: cnn}, {kind: resnet}]}"
        )


def _parameter(
    experiment: Experiment, name: str, spec: JSON, *, met: Mapping[str, JSON], place: str
) -> Parameter:
    """A parameter whose ends are tried on the experiment, and its values as the setting's type."""
    parameter = parse_parameter(spec, place, kind=kind_of(experiment, name))
    held = [
        _try_value(experiment, name, value, met=met, place=place) for value in _extremes(parameter)
    ]
    if not isinstance(parameter, Categorical):
        return parameter
    twice = [value for value, count in Counter(map(canonical, held)).items() if count > 1]
    if twice:
        raise UserError(f"{place}.values: duplicate value {twice[0]}; use `probabilities` to weigh")
    values = map(_as_written, held, parameter.values)
    return Categorical(tuple(values), parameter.probabilities)


def _as_written(held: JSON, written: JSON) -> JSON:
    """The value of the setting's type, of a mapping only what was written.

    A 0 stays 0 where the setting would have 0.0: they are equal, and earlier logs say so.
    """
    if isinstance(held, Mapping) and isinstance(written, Mapping):
        return {key: _as_written(held.get(key), value) for key, value in written.items()}
    same = isinstance(held, float) and type(written) is int and held == written
    return written if same else held


def _fitting(experiment: Experiment, name: str, value: JSON, *, parameter: Parameter) -> JSON:
    """The value as the parameter has it; as it is where it is no value of the setting."""
    if parameter.contains(value):
        return value
    try:
        tried = with_parameters(experiment, {name: value})
    except (ValidationError, KeyError):
        return value
    return _as_written(_held(tried, name), value)


def with_parameters(experiment: Experiment, parameters: Mapping[str, JSON]) -> Experiment:
    """The experiment with the dotted settings replaced.

    Raises pydantic's ValidationError where they do not go together.
    """
    # Without the search, which may be large and stays as it is.
    tree = experiment.model_dump(exclude={"search"})
    for name, value in parameters.items():
        branch = tree
        *path, leaf = name.split(".")
        for part in path:
            branch = branch.setdefault(part, {})
            if not isinstance(branch, dict):
                raise KeyError(name)
        branch[leaf] = value
    return Experiment.model_validate(tree).model_copy(update={"search": experiment.search})


def _own_values(experiment: Experiment) -> dict[str, JSON]:
    """The experiment's own value of every parameter that is searched."""
    tree = experiment.model_dump(mode="json")
    return {name: value_at(tree, name) for name in experiment.search.parameters}


def _changes_of(
    experiment: Experiment,
    name: str,
    parameter: Parameter,
    *,
    own: JSON,
    met: Mapping[str, JSON],
    place: str,
) -> Categorical:
    """A parameter of an ablation, with its own value. Raises UserError for a range."""
    if not isinstance(parameter, Categorical):
        raise UserError(
            f"{place}: an ablation changes a value for another, and this is a range;"
            " allowed: constant, categorical"
        )
    # As the experiment would hold them, or its own value, written another way, would be a change.
    held = [_try_value(experiment, name, v, met=met, place=place) for v in parameter.values]
    changes = replace(parameter, values=tuple(held))
    return changes if changes.contains(own) else changes.with_value(own)


def _first_met(conditions: Mapping[str, tuple[JSON, ...]]) -> dict[str, JSON]:
    return {other: values[0] for other, values in conditions.items()}


def _check_grid(space: SearchSpace, place: str) -> None:
    for name, parameter in space.parameters.items():
        if parameter.size is None:
            raise UserError(
                f"{place}.{name}: a grid tries every value, and this range has no end of them;"
                " allowed: constant, categorical, int_uniform, q_uniform, q_log_uniform_values"
            )
    if space.grid is None:
        raise UserError(f"{place}: a grid of more than {MAX_TRIALS:,} points; that is the most")


def _condition(
    when: JSON, *, experiment: Experiment, above: Mapping[str, Parameter], place: str
) -> dict[str, tuple[JSON, ...]]:
    """`when` as {parameter: values}. Raises UserError where it names what is not above."""
    if not isinstance(when, Mapping) or not when:
        raise UserError(f"{place}: {when}: should be a mapping of parameters above to values")
    found = {}
    for name, wanted in when.items():
        if name not in above:
            known = ", ".join(above) or "none"
            raise UserError(
                f"{place}: {name}: is not declared above this parameter; available: {known}"
            )
        # A list is several values, unless the parameter's own values are lists and it is one.
        several = isinstance(wanted, list) and not above[name].contains(wanted)
        values = tuple(
            _fitting(experiment, name, value, parameter=above[name])
            for value in (wanted if several else [wanted])
        )
        for value in values:
            if not above[name].contains(value):
                raise UserError(f"{place}.{name}: {value}: is no value of that parameter")
        if not values:
            raise UserError(f"{place}.{name}: the list is empty; at least one value is needed")
        found[name] = values
    return found


def _first_point(
    experiment: Experiment, given: Mapping[str, JSON], *, space: SearchSpace, place: str
) -> dict[str, JSON]:
    """A point of `search.first`. Raises UserError where it is not one of the space."""
    for name in given:
        if name not in space.parameters:
            raise UserError(f"{place}: {name}: is no parameter of search.parameters")
    fitting = {
        name: _fitting(experiment, name, value, parameter=space.parameters[name])
        for name, value in given.items()
    }
    point = space.existing({**_own_values(experiment), **fitting})
    for name, value in point.items():
        if not space.parameters[name].contains(value):
            origin = "" if name in given else ", which is the experiment's own,"
            raise UserError(f"{place}: {name}: {value}{origin} is no value that the space has")
    return point


def value_at(tree: JSON, name: str) -> JSON:
    """The setting of that dotted name in an experiment's tree; None where there is none."""
    for part in name.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def trial_experiment(base: Experiment, *, parameters: dict[str, JSON], seed: int) -> Experiment:
    """The resolved experiment of one trial.

    Raises UserError where values that are allowed one by one do not go together.
    """
    try:
        resolved = with_parameters(base, parameters)
    except ValidationError as error:
        raise UserError(explain(error)) from None
    return resolved.model_copy(update={"seed": seed})


def _extremes(parameter: Parameter) -> list[JSON]:
    """Values that stand for all: every category; the ends of a range (of a normal, 6 sigma)."""
    if isinstance(parameter, Categorical):
        return list(parameter.values)
    return [
        parameter.settle(max(parameter.low, parameter.from_unit(0.0))),
        parameter.settle(min(parameter.high, parameter.from_unit(1.0))),
    ]


def _try_value(
    experiment: Experiment, name: str, value: JSON, *, met: Mapping[str, JSON], place: str
) -> JSON:
    """The value as the experiment holds it, with all keys of a mapping. Raises UserError.

    `met`: values of other parameters under which this one exists.
    """
    try:
        tried = with_parameters(experiment, {**met, name: value})
    except KeyError:
        raise UserError(f"{place}: there is no setting of that name") from None
    except ValidationError as error:
        about = [d for d in error.errors() if key_of(d).startswith(name)]
        found = (about or error.errors())[0]
        explanation = explain_details(found, key_of(found)).removeprefix(f"{name}: ")
        raise UserError(
            f"{place}: {explanation}" if about else f"{place}: {shown(value)}: {explanation}"
        ) from None
    return _held(tried, name)


def _held(tried: Experiment, name: str) -> JSON:
    return value_at(tried.model_dump(mode="json", exclude={"search"}), name)
