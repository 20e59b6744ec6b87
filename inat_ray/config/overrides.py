"""`--set KEY=VALUE` and other options, on top of a file's settings.

A parameter whose setting is given on the command line is fixed, and no longer searched.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any

from inat_ray.config.distributions import Tree
from inat_ray.config.errors import UserError
from inat_ray.config.parameter_spec import ParameterSpec
from inat_ray.config.yaml_reader import parse_yaml

PARAMETERS = "search.parameters."
"""Below this key, names are dotted themselves. A file replaces a parameter as a whole."""

KIND, STRATEGY = "model.kind", "model.freeze.strategy"

DECIDING = {KIND: "cnn", STRATEGY: "none"}
"""The settings that decide which others stand beside them, with their defaults."""

NEVER = object()
"""Equals no value: the value of a parameter that no longer exists."""


def parse_setting(line: str) -> tuple[str, Any]:
    """Returns the dotted key and the YAML value of `KEY=VALUE`."""
    key, separator, text = line.partition("=")
    if not separator or not key.strip():
        raise UserError(f"--set {line}: KEY=VALUE is allowed, for example recipe.lr=0.001")
    return key.strip(), parse_yaml(text, where=f"--set {key}")


def put(tree: Tree, key: str, value: Any) -> None:
    """Sets the dotted `key` in the tree, making the mappings on the way."""
    is_parameter = key.startswith(PARAMETERS)
    *path, leaf = _parts_of_parameter(tree, key) if is_parameter else key.split(".")
    for part in path:
        if not isinstance(tree.get(part), dict):
            tree[part] = {}
        tree = tree[part]
    tree[leaf] = value
    if is_parameter and value is None:
        del tree[leaf]  # null removes a parameter, as in a file that extends another


def _parts_of_parameter(tree: Tree, key: str) -> list[str]:
    """Splits search.parameters.NAME, or search.parameters.NAME.max of a parameter that is there."""
    *path, name = key.split(".", maxsplit=2)
    known = (tree.get("search") or {}).get("parameters") or {}
    whole, _, part = name.rpartition(".")
    is_part = name not in known and whole in known and part in ParameterSpec.model_fields
    return [*path, whole, part] if is_part else [*path, name]


def leave_other_kind(tree: Tree, key: str, value: Any, *, given: Collection[str]) -> None:
    """Removes what stands beside a model's kind that `key` changes, as a file that extends does.

    What is `given` on the command line too stays.
    """
    path, _, leaf = key.rpartition(".")
    section = settings_in(tree).get(path)
    is_whole = any(f"{path}.".startswith(f"{each}.") for each in given)
    if key not in DECIDING or is_whole or not isinstance(section, dict):
        return
    if section.get(leaf, DECIDING[key]) != value:
        for name in list(section):
            if not any(f"{each}.".startswith(f"{path}.{name}.") for each in given):
                del section[name]


def fix_parameters(tree: Tree, key: str, value: Any, *, option: str) -> list[str]:
    """Removes from the tree's search the parameters that `key`, given by `option`, fixes.

    Returns a sentence for each of them. Raises UserError where only a part of one is given.
    """
    search = tree.get("search")
    if not isinstance(search, dict) or not isinstance(search.get("parameters"), dict):
        return []
    given, notes = settings_in({key: value}), []
    for name in list(search["parameters"]):
        if key.startswith(f"{name}."):
            raise UserError(
                f"{option} {key}: is a part of {name}, which is searched as a whole; give {name}"
                f" itself, or search another one: --set search.parameters.{name}=..."
            )
        if name in given and name in search["parameters"]:
            notes.append(f"{name}: fixed at {given[name]}, no longer searched")
            notes += _fix(search, name, given[name])
    return notes


def settings_in(tree: Mapping[str, Any]) -> Tree:
    """Returns every setting of a tree by its dotted name, mappings before those in them."""
    found: Tree = {}
    for name, value in tree.items():
        below = settings_in(value) if isinstance(value, Mapping) else {}
        found |= {name: value} | {f"{name}.{key}": each for key, each in below.items()}
    return found


def texts_of_models(part: Any, setting: str, *, within: bool = False) -> Iterator[tuple[Any, Any]]:
    """Yields (mapping or list, key) of each text that is a value of a setting of models.

    `part` is a tree of settings: a model's, or one with a search, whose values are meant, too.
    """
    pairs = part.items() if isinstance(part, dict) else enumerate(part)
    for key, below in list(pairs):
        is_named = within or key in (setting, f"model.{setting}")
        if isinstance(below, str) and is_named:
            yield part, key
        # The arguments of somebody's network may be called anything.
        elif isinstance(below, dict | list) and key not in ("args", "model.args"):
            yield from texts_of_models(below, setting, within=is_named)


def _fix(search: Tree, name: str, value: Any) -> list[str]:
    """Removes a parameter from the search, the conditions on it, and what fails them."""
    parameters, notes = search["parameters"], []
    del parameters[name]
    search["first"] = [_without(point, name) for point in search.get("first") or []]
    for other, spec in list(parameters.items()):
        when = spec.get("when") if isinstance(spec, Mapping) else None
        if other not in parameters or not isinstance(when, Mapping) or name not in when:
            continue
        wanted = when[name] if isinstance(when[name], list) else [when[name]]
        if any(_same_value(value, each) for each in wanted):
            rest = _without(when, name)
            parameters[other] = {**_without(spec, "when"), **({"when": rest} if rest else {})}
        else:
            notes += [f"{other}: no longer searched: it has a condition on {name}"]
            notes += _fix(search, other, NEVER)
    if name == "seed":  # without a parameter, each trial would get a seed of its own
        search["parameters"] = {name: {"value": value}, **parameters}
    return notes


def _same_value(one: Any, other: Any) -> bool:
    """Returns whether a setting reads both as one value: '16' and 16, 'true' and true, 0 and 0.0.

    The settings are not validated yet, so what stands in quotes is compared as YAML reads it.
    """
    one, other = _unquoted(one), _unquoted(other)
    return one == other and isinstance(one, bool) == isinstance(other, bool)  # True == 1


def _unquoted(value: Any) -> Any:
    if isinstance(value, str):
        with suppress(UserError):
            return parse_yaml(value, where="a value")
    return value


def _without(mapping: Any, name: str) -> Any:
    if not isinstance(mapping, Mapping):
        return mapping
    return {key: value for key, value in mapping.items() if key != name}
