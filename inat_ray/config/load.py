"""From YAML files and `--set` to a validated `Experiment`, with errors that a person can act on."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import MODEL_KINDS, Experiment

Tree = dict[str, Any]
Loc = tuple[int | str, ...]
"""Where pydantic found something: keys, and places in lists."""

_PARAMETERS = "search.parameters."
"""Below this key, names are dotted themselves, and a parameter is replaced as a whole."""


class _Loader(yaml.SafeLoader):
    """YAML as people write it: `1e-3` is a number, and a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key in keys if isinstance(key, str) and keys.count(key) > 1]:
            mark = node.start_mark
            raise yaml.MarkedYAMLError(problem=f"key '{twice[0]}' stands twice", problem_mark=mark)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    # PyYAML follows YAML 1.1, in which an exponent needs a dot and a sign.
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def load_experiment(
    path: Path | None, *, settings: Iterable[str] = (), options: Mapping[str, Any] | None = None
) -> Experiment:
    """The experiment in `path` (None: all defaults), then `--set` lines, then options.

    `settings` are lines `KEY=VALUE` with a dotted key and a YAML value. `options` maps a
    dotted key to (name of the command-line option, value).

    Raises UserError that names the file or option, the key, the value and what is allowed.
    """
    origins: dict[str, str] = {}
    tree = _read_with_ancestors(path, origins, ()) if path else {}
    return _settle(tree, origins=origins, settings=settings, options=options or {})


def override(
    experiment: Experiment, *, settings: Iterable[str], options: Mapping[str, Any]
) -> Experiment:
    """The experiment with `--set` lines and options on top, as in `load_experiment`."""
    tree = experiment.model_dump(mode="json")
    return _settle(tree, origins={}, settings=settings, options=options)


def _settle(
    tree: Tree, *, origins: dict[str, str], settings: Iterable[str], options: Mapping[str, Any]
) -> Experiment:
    for line in settings:
        key, value = _parse_setting(line)
        _put(tree, key, value)
        origins[key] = "--set"
    for key, (option, value) in options.items():
        _put(tree, key, value)
        origins[key] = option
    try:
        return Experiment.model_validate(tree)
    except ValidationError as error:
        raise UserError(explain(error, origins)) from None


def parse_yaml(text: str, *, where: str) -> Any:
    """The value that `text` stands for; `where` names its place in an error."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not valid YAML: {_one_line(error)}") from None


def dump_experiment(experiment: Experiment) -> str:
    """The resolved experiment as YAML that `load_experiment` reads back."""
    return yaml.safe_dump(
        experiment.model_dump(mode="json"), sort_keys=False, default_flow_style=None
    )


def _read_with_ancestors(path: Path, origins: dict[str, str], below: tuple[Path, ...]) -> Tree:
    if path.resolve() in below:
        raise UserError(f"{path}: extends itself, by way of {' -> '.join(map(str, below))}")
    tree = _read(path)
    parent = tree.pop("extends", None)
    inherited: Tree = {}
    if parent is not None:
        if not isinstance(parent, str):
            raise UserError(f"{path}: extends: {parent!r}: the name of one YAML file is allowed")
        inherited = _read_with_ancestors(path.parent / parent, origins, (*below, path.resolve()))
    return _merge(inherited, tree, origins=origins, origin=str(path))


def _read(path: Path) -> Tree:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such experiment file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    tree = parse_yaml(text, where=str(path))
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: holds a {type(tree).__name__}; a mapping of settings is allowed")
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
        whole = prefix == _PARAMETERS
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


def _parse_setting(line: str) -> tuple[str, Any]:
    key, separator, text = line.partition("=")
    if not separator or not key.strip():
        raise UserError(f"--set {line}: KEY=VALUE is allowed, for example recipe.lr=0.001")
    return key.strip(), parse_yaml(text, where=f"--set {key}")


def _put(tree: Tree, key: str, value: Any) -> None:
    """Set the dotted `key` in the tree, making the mappings on the way."""
    if key.startswith(_PARAMETERS):
        path = ["search", "parameters", key.removeprefix(_PARAMETERS)]
    else:
        path = key.split(".")
    for part in path[:-1]:
        if not isinstance(tree.get(part), dict):
            tree[part] = {}
        tree = tree[part]
    tree[path[-1]] = value


def explain_details(details: ErrorDetails, key: str) -> str:
    """One of pydantic's findings as a sentence: value, and what is allowed at `key`."""
    if details["type"] == "extra_forbidden":
        return _unknown_key(key, details["loc"])
    value = details["input"]
    shown = "" if isinstance(value, dict) else f" {value!r}:"
    message = details["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{key}:{shown} {message}"


def key_of(details: ErrorDetails) -> str:
    """The dotted key that a finding is about; places in lists are in brackets."""
    parts = [
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in _written(details["loc"])
    ]
    return "".join(parts).removeprefix(".")


def explain(error: ValidationError, origins: Mapping[str, str] | None = None) -> str:
    """All of pydantic's findings, a line each, with where each key was set if that is known."""
    lines = []
    for details in error.errors():
        key = key_of(details)
        place = "" if origins is None else f"{_origin(key, origins)}: "
        lines.append(f"{place}{explain_details(details, key)}")
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


def _one_line(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    mark = error.problem_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
