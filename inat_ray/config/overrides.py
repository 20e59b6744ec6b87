"""`--set KEY=VALUE` and other options, on top of a file's settings.

A setting that is given on the command line is searched no longer: it fixes its parameter.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from inat_ray.config.errors import UserError
from inat_ray.config.yaml_reader import parse_yaml

Tree = dict[str, Any]

PARAMETERS = "search.parameters."
"""Below this key, names are dotted themselves, and a parameter is replaced as a whole."""

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
    if key.startswith(PARAMETERS):
        path = ["search", "parameters", key.removeprefix(PARAMETERS)]
    else:
        path = key.split(".")
    for part in path[:-1]:
        if not isinstance(tree.get(part), dict):
            tree[part] = {}
        tree = tree[part]
    tree[path[-1]] = value
    if value is None and key.startswith(PARAMETERS):
        del tree[path[-1]]  # as in a file that extends another


def fix_parameters(tree: Tree, key: str, value: Any, *, option: str) -> list[str]:
    """Removes the parameters that `key`, given by `option`, fixes from the tree's search.

    Returns a sentence for each such parameter. Raises UserError where only a part of one is given.
    """
    search = tree.get("search")
    if not isinstance(search, dict) or not isinstance(search.get("parameters"), dict):
        return []
    given, notes = dict(_settings(key, value)), []
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


def _settings(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The setting, and those in it where it is a mapping."""
    yield key, value
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield from _settings(f"{key}.{name}", below)


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
        if any(_read_alike(value, each) for each in wanted):
            rest = _without(when, name)
            parameters[other] = {**_without(spec, "when"), **({"when": rest} if rest else {})}
        else:
            notes += [f"{other}: no longer searched: it has a condition on {name}"]
            notes += _fix(search, other, NEVER)
    if name == "seed":  # else each trial would have a seed of its own
        search["parameters"] = {name: {"value": value}, **parameters}
    return notes


def _read_alike(one: Any, other: Any) -> bool:
    """Whether a setting would take both as one value: '16' and 16, 'true' and true, 1 and 1.0."""
    same = one == other and isinstance(one, bool) == isinstance(other, bool)
    return same or str(one).casefold() == str(other).casefold()


def _without(mapping: Any, name: str) -> Any:
    if not isinstance(mapping, Mapping):
        return mapping
    return {key: value for key, value in mapping.items() if key != name}
