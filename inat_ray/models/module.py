"""A network of one's own, built by code that the person at the command line named.

Code is run only if this process was told so by `allow`. The name of a target in a run folder or in
a model's file tells nobody to run anything.
"""

import importlib
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from inat_ray.config.errors import UserError
from inat_ray.config.model import ModuleConfig

MOST_OF_AN_ERROR = 300
"""Characters of a network's own error that are shown."""


@dataclass(frozen=True)
class Code:
    """The code that builds a network."""

    target: str
    """As in `model.target`."""
    source: bytes | None
    """The file; None for a package that is installed on every node."""
    sha256: str


_allowed: dict[str, Code] = {}
"""SHA-256 -> code that this process may run."""


def read_code(target: str, *, folder: Path) -> Code:
    """Reads, and does not run, the code of a target whose file is relative to `folder`.

    Raises UserError if there is none.
    """
    place, _, _ = target.rpartition(":")
    if not place.endswith(".py"):
        try:
            found = importlib.util.find_spec(place)
        except (ImportError, ValueError):
            found = None
        if found is None or found.origin is None:
            raise UserError(f"model.target: {target}: no module {place} is installed here")
        return Code(target, None, sha256(Path(found.origin).read_bytes()).hexdigest())
    path = folder / Path(place).expanduser()
    if not path.is_file():
        raise UserError(f"model.target: {target}: there is no file {path}")
    source = path.read_bytes()
    return Code(target, source, sha256(source).hexdigest())


def allow(code: Code) -> None:
    """Lets this process run it."""
    _allowed[code.sha256] = code


def allowed() -> list[Code]:
    """Returns what this process may run, for other processes that work for the same person."""
    return list(_allowed.values())


def build_module(config: ModuleConfig, *, classes: int) -> nn.Module:
    """Images (n, 3, s, s) to logits (n, classes), if the code keeps its promise.

    Raises UserError if the code may not run here, or if it fails.
    """
    code = _allowed.get(config.sha256 or "")
    if code is None:
        raise UserError(
            f"model.target: {config.target}: the code of a run is run only if you name it:"
            f" --code {config.target.rpartition(':')[0]}"
        )
    name = config.target.rpartition(":")[2]
    try:
        made: Any = getattr(_module(code), name, None)
        model = made(classes=classes, **config.args) if callable(made) else None
    except Exception as error:
        said = f"{type(error).__name__}: {error}"[:MOST_OF_AN_ERROR]
        raise UserError(f"model.target: {config.target}: {said}") from None
    if not isinstance(model, nn.Module):
        found = "is missing" if made is None else f"made a {type(model).__name__}, no nn.Module"
        raise UserError(f"model.target: {config.target}: {name} {found}")
    return model


def _module(code: Code) -> ModuleType:
    """Runs the code, once a process."""
    place = code.target.rpartition(":")[0]
    if code.source is None:
        return importlib.import_module(place)
    name = f"inat_ray_code_{code.sha256[:16]}"
    if name not in sys.modules:
        module = ModuleType(name)
        module.__file__ = place
        exec(compile(code.source, place, "exec"), module.__dict__)
        sys.modules[name] = module
    return sys.modules[name]
