"""A setting that is given on the command line is searched no longer: it fixes its parameter."""

from collections.abc import Iterator, Mapping
from typing import Any

from inat_ray.config.errors import UserError

Tree = dict[str, Any]

NEVER = object()
"""Equal to no value: of a parameter that no longer exists."""


def fix_parameters(tree: Tree, key: str, value: Any, *, option: str) -> list[str]:
    """Takes from the tree's search what `key`, which was given by `option`, fixes.

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
    """Takes a parameter from the search, with the conditions on it, and what fails them."""
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
