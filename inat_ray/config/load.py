"""From YAML files and `--set` to a validated `Experiment`, with errors that a person can act on."""

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import NAMED_SOURCES, Experiment
from inat_ray.config.model import MODEL_KINDS
from inat_ray.config.overrides import PARAMETERS, fix_parameters, parse_setting, put
from inat_ray.config.shipped import find_experiment
from inat_ray.config.yaml_reader import read_yaml

Tree = dict[str, Any]
Loc = tuple[int | str, ...]
"""Where pydantic found something: keys, and places in lists."""

MOST_FILES = 16
"""In a row, each of which extends the next."""

MOST_FAULTS = 10
"""That are told at once."""

MOST_SHOWN = 200
"""Characters of a value or a name in a message."""

Tell = Callable[[str], None]


def load_experiment(
    path: Path | None,
    *,
    settings: Iterable[str] = (),
    options: Mapping[str, Any] | None = None,
    tell: Tell = lambda _: None,
) -> Experiment:
    """The experiment in `path` (None: all defaults), then `--set` lines, then options.

    `path` may be the name of an experiment that comes with inat_ray.

    `settings` are lines `KEY=VALUE` with a dotted key and a YAML value. `options` maps a
    dotted key to (name of the command-line option, value). Either fixes a parameter of the search,
    which `tell` is told.

    Raises UserError that names the file or option, the key, the value and what is allowed.
    """
    origins: dict[str, str] = {}
    tree = _read_with_ancestors(find_experiment(path), origins, ()) if path else {}
    return _settle(tree, origins=origins, settings=settings, options=options or {}, tell=tell)


def override(
    experiment: Experiment, *, settings: Iterable[str], options: Mapping[str, Any]
) -> Experiment:
    """The experiment with `--set` lines and options on top, as in `load_experiment`."""
    tree = experiment.model_dump(mode="json")
    return _settle(tree, origins={}, settings=settings, options=options, tell=lambda _: None)


def _settle(
    tree: Tree,
    *,
    origins: dict[str, str],
    settings: Iterable[str],
    options: Mapping[str, Any],
    tell: Tell,
) -> Experiment:
    given = [(*parse_setting(line), "--set") for line in settings]
    for key, value, option in [*given, *((k, v, o) for k, (o, v) in options.items())]:
        put(tree, key, value)
        origins[key] = option
        for note in fix_parameters(tree, key, value, option=option):
            tell(note)
    try:
        return _located(Experiment.model_validate(tree))
    except ValidationError as error:
        raise UserError(explain(error, origins)) from None


def _located(experiment: Experiment) -> Experiment:
    """With the whole paths of the data: a run may be gone on with from another folder."""
    data = experiment.data
    relative = {
        key: str(Path(place).absolute())
        for key, place in (("source", data.source), ("cache", data.cache))
        if place not in NAMED_SOURCES and not place.startswith("~")
    }
    return experiment.model_copy(update={"data": data.model_copy(update=relative)})


def dump_experiment(experiment: Experiment) -> str:
    """The resolved experiment as YAML that `load_experiment` reads back."""
    return yaml.safe_dump(
        experiment.model_dump(mode="json"), sort_keys=False, default_flow_style=None
    )


def _read_with_ancestors(path: Path, origins: dict[str, str], below: tuple[Path, ...]) -> Tree:
    tree = _read(path, inherited=bool(below))
    if path.resolve() in below:
        raise UserError(f"{path}: extends itself, by way of {' -> '.join(map(str, below))}")
    if len(below) == MOST_FILES:
        raise UserError(f"{below[0]}: extends: more than {MOST_FILES} files in a row")
    parent = tree.pop("extends", None)
    inherited: Tree = {}
    if parent is not None:
        if not isinstance(parent, str):
            raise UserError(
                f"{path}: extends: {shown(parent)}: the name of one YAML file is allowed"
            )
        inherited = _read_with_ancestors(path.parent / parent, origins, (*below, path.resolve()))
    return _merge(inherited, tree, origins=origins, origin=str(path))


def _read(path: Path, *, inherited: bool) -> Tree:
    """`inherited`: of a file that another one names, which need not be the user's own."""
    tree = read_yaml(path, secret=inherited)
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: holds a {type(tree).__name__}; a mapping of settings is allowed")
    settings = ["extends", *Experiment.model_fields]
    if inherited and any(not get_close_matches(str(key), settings, n=1) for key in tree):
        raise UserError(
            f"{path}: is no experiment, which has these settings: {', '.join(settings)}"
        )
    return tree


def _merge(
    base: Tree, over: Tree, *, origins: dict[str, str], origin: str, prefix: str = ""
) -> Tree:
    """`over` on top of `base`: mappings merge key by key, all else replaces.

    A mapping of another kind replaces too: a ResNet takes over nothing from a CNN.
    """
    merged = dict(base)
    for key, value in over.items():
        name = f"{prefix}{key}"
        origins[name] = origin
        below = merged.get(key)
        whole = prefix == PARAMETERS
        if whole and value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and not whole:
            merged[key] = _merge(
                below if isinstance(below, dict) and not _of_another_kind(value, below) else {},
                value,
                origins=origins,
                origin=origin,
                prefix=f"{name}.",
            )
        else:
            merged[key] = value
    return merged


def _of_another_kind(over: Tree, base: Tree) -> bool:
    return any(name in over and over[name] != base.get(name) for name in ("kind", "strategy"))


def explain_details(details: ErrorDetails, key: str) -> str:
    """One of pydantic's findings as a sentence: value, and what is allowed at `key`."""
    value, kind = details["input"], details["type"]
    if kind == "extra_forbidden":
        return _unknown_key(key, details["loc"])
    message = details["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if kind == "unknown_kind" and not isinstance(value, dict):
        kind = "model_type"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        message = "should be a mapping of settings"
    if value is None:
        return f"{key}: is empty; {message}, or leave it out"
    if isinstance(value, dict) and kind.endswith("_type"):
        return f"{key}: a mapping: {message}; a range to search stands below search.parameters"
    # What is about several parts of an experiment has no key.
    place = f"{key}: " if key else ""
    return f"{place}{message}" if isinstance(value, dict) else f"{place}{shown(value)}: {message}"


def shown(value: Any) -> str:
    """A value in a message: its beginning will do."""
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def key_of(details: ErrorDetails) -> str:
    """The dotted key that a finding is about; places in lists are in brackets."""
    parts = [
        f"[{part}]" if isinstance(part, int) else f".{_printable(part)}"
        for part in _written(details["loc"])
    ]
    return "".join(parts).removeprefix(".")


def _printable(name: str) -> str:
    return name if name.isprintable() and len(name) <= MOST_SHOWN else shown(name)


def explain(error: ValidationError, origins: Mapping[str, str] | None = None) -> str:
    """Pydantic's findings, a line each, with where each key was set if that is known."""
    lines = []
    for details in error.errors()[:MOST_FAULTS]:
        key = key_of(details)
        place = "" if origins is None else f"{_origin(key, origins)}: "
        lines.append(f"{place}{explain_details(details, key)}")
    if (more := error.error_count() - MOST_FAULTS) > 0:
        lines.append(f"and {more:,} more")
    return "\n".join(lines)


def _origin(key: str, origins: Mapping[str, str]) -> str:
    """Where the key was set: its own origin, or that of the nearest mapping above it."""
    while key:
        if key in origins:
            return origins[key]
        key = re.sub(r"(^|\.|\[)[^.\[]*$", "", key)
    return "experiment"


def _unknown_key(key: str, loc: Loc) -> str:
    allowed = _allowed_keys(loc[:-1])
    close = get_close_matches(str(loc[-1]), allowed, n=1)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    return f"{key}: there is no such setting{hint}; allowed here: {', '.join(allowed)}"


def _allowed_keys(loc: Loc) -> list[str]:
    part: type[BaseModel] = Experiment
    for name in loc:
        # After `model` stands the kind that pydantic chose among the families.
        part = MODEL_KINDS.get(str(name)) or _type_of(part, str(name))
    return list(part.model_fields)


def _type_of(part: type[BaseModel], name: str) -> type[BaseModel]:
    annotation = part.model_fields[name].annotation
    return annotation if isinstance(annotation, type) else part


def _written(loc: Loc) -> Loc:
    """A place as a person writes it: without the kind of model that pydantic chose."""
    chosen = len(loc) > 1 and loc[0] == "model" and loc[1] in MODEL_KINDS
    return (loc[0], *loc[2:]) if chosen else loc
