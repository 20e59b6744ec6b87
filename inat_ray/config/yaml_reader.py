"""YAML from anyone: only values that JSON has, and a bound on what a small text can cost.

An alias repeats a value, and with aliases in aliases a kilobyte of text can stand for billions
of values. So the events of the parser are counted before any value is built.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from typing import Any

import yaml

from inat_ray.config.errors import UserError

MOST_BYTES = 2**20
"""The most that a file may have. The largest experiments have some kilobytes."""

MOST_NODES = 20_000
"""Values in a text; an alias counts as all that it repeats, and a long value by its length. Reading
and checking so many takes a second."""

NODE_LENGTH = 50
"""Characters that count as one value."""

MOST_DEPTH = 50
MOST_BITS = 64

JSON_TAGS = ("null", "bool", "int", "float", "str", "seq", "map")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as people write it: `1e-3` is a number, a date is text, and all else is as in JSON."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep=deep)
        except (ArithmeticError, AttributeError, LookupError, ValueError):
            # What PyYAML's constructors raise at `!!int x`, `!!bool x` or `!!int ""`.
            kind = node.tag.rpartition(":")[2]
            raise _mistake(f"'{_brief(str(node.value))}' is no {kind}", node) from None
        if isinstance(value, int) and isinstance(node, yaml.ScalarNode):
            _check_whole_number(value, node)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        mapping: dict[str, Any] = super().construct_mapping(node, deep=deep)
        for key in mapping:
            if not isinstance(key, str):
                raise _mistake(f"key '{key}' is no text; write it in quotes", node)
        return mapping


_Loader.yaml_constructors = {
    tag: yaml.SafeLoader.yaml_constructors[tag]
    for tag in (None, *(f"tag:yaml.org,2002:{name}" for name in JSON_TAGS))
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    # PyYAML follows YAML 1.1, in which an exponent needs a dot and a sign.
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def read_yaml(path: Path, *, secret: bool = False) -> Any:
    """Returns the value in a file. Raises UserError that names it; see `parse_yaml`."""
    return parse_yaml(_read(path), where=str(path), secret=secret)


def parse_yaml(text: str, *, where: str, secret: bool = False) -> Any:
    """Returns the value that `text` stands for; `where` names its place in an error.

    Raises UserError where it is not valid or costs too much. With `secret`, the error quotes
    nothing of the text.
    """
    try:
        weight = _Weight()
        for event in yaml.parse(text, Loader=_Loader):
            weight.add(event)
        return yaml.load(text, Loader=_Loader)
    except UnicodeEncodeError:
        raise UserError(f"{where}: is no UTF-8 text") from None
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not valid YAML: {_one_line(error, secret=secret)}") from None


def _read(path: Path) -> str:
    try:
        # Asked before it is opened: opening a pipe would wait for its writer.
        if not S_ISREG(path.stat().st_mode):
            raise UserError(f"{path}: is not a regular file; expected a YAML file")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise UserError(f"{path}: is larger than {MOST_BYTES:,} bytes, which is the most")
        return content.decode()
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such experiment file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:  # of the text, or of a path that holds a zero
        raise UserError(f"{path}: cannot be read: is no UTF-8 text") from None


@dataclass
class _Open:
    """A list or mapping whose end the parser has not reached."""

    start: yaml.NodeEvent
    nodes: int = 1
    children: int = 0
    keys: dict[str, int] = field(default_factory=dict)
    """The line of each key of a mapping."""


class _Weight:
    """Counts values from the events of the parser, which come before any value is built."""

    def __init__(self) -> None:
        self._open = [_Open(yaml.NodeEvent(None))]
        self._known: dict[str | None, int] = {}
        """Values below each anchor."""

    def add(self, event: yaml.Event) -> None:
        """Raises MarkedYAMLError where the text is too much, too deep, or repeats a key."""
        if isinstance(event, yaml.CollectionStartEvent):
            self._open.append(_Open(event))
            if len(self._open) > MOST_DEPTH:
                raise _mistake(f"nested more than {MOST_DEPTH} deep", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            done = self._open.pop()
            self._complete(done.start, done.nodes)
        elif isinstance(event, yaml.ScalarEvent):
            self._complete(event, 1 + len(event.value) // NODE_LENGTH)
        elif isinstance(event, yaml.AliasEvent):
            if any(each.start.anchor == event.anchor for each in self._open):
                raise _mistake(f"'*{event.anchor}' holds itself", event)
            self._complete(event, self._known.get(event.anchor, 1))

    def _complete(self, event: yaml.NodeEvent, nodes: int) -> None:
        """Adds a value, with all in it, to the one around it."""
        if event.anchor is not None:
            self._known[event.anchor] = nodes
        parent = self._open[-1]
        is_key = isinstance(parent.start, yaml.MappingStartEvent) and parent.children % 2 == 0
        if is_key and isinstance(event, yaml.ScalarEvent):
            _check_once(event, parent.keys)
        parent.children += 1
        parent.nodes += nodes
        if parent.nodes > MOST_NODES:
            raise _mistake(f"more than {MOST_NODES:,} values, aliases counted in full", event)


def _check_whole_number(value: int, node: yaml.ScalarNode) -> None:
    """YAML 1.1 reads 010 as 8 and 1:30 as 90; Python takes numbers that it then will not print."""
    if value.bit_length() > MOST_BITS:
        raise _mistake(f"a whole number of more than {MOST_BITS} bits", node)
    if re.fullmatch(r"[-+]?0[0-9_]+|.*:.*", node.value):
        raise _mistake(f"'{node.value}' would be {value} in YAML; write that, or quote it", node)


def _check_once(key: yaml.ScalarEvent, keys: dict[str, int]) -> None:
    if key.value in keys:
        first = keys[key.value]
        raise _mistake(f"duplicate key '{_brief(key.value)}', first in line {first}", key)
    assert key.start_mark is not None
    keys[key.value] = key.start_mark.line + 1


def _mistake(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


def _brief(text: str) -> str:
    return text if len(text) <= NODE_LENGTH else f"{text[:NODE_LENGTH]}..."


def _one_line(error: yaml.YAMLError, *, secret: bool) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "a character that is not allowed" if secret else " ".join(str(error).split())
    mark = error.problem_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}"
    # What is in quotes was found in the text.
    return place if secret and "'" in str(error.problem) else f"{place}: {error.problem}"
