"""A network of one's own, built by code that `config.code` lets this process run."""

import inspect
import linecache
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from inat_ray.config.code import Code, code_for, read_code
from inat_ray.config.errors import UserError
from inat_ray.config.model import ModuleConfig

MOST_OF_AN_ERROR = 300
"""Characters of a network's own error that are shown."""

_files: set[str | None] = set()
"""The files of the code that has run here, as tracebacks name them."""


def build_module(config: ModuleConfig, *, classes: int, image_size: int) -> nn.Module:
    """Images (n, 3, image_size, image_size) to logits (n, classes), if the code keeps its promise.

    Raises UserError if the code may not run here, or if it fails.
    """
    where = f"model.target: {config.target}"
    code, name = code_for(config.target, config.sha256), config.target.rpartition(":")[2]
    with explained(where):
        module = _module(code)
    made: Any = getattr(module, name, None)
    if not callable(made):
        kinds = {key: kind for key, kind in vars(module).items() if isinstance(kind, type)}
        own = {key: kind for key, kind in kinds.items() if kind.__module__ == module.__name__}
        networks = [key for key, kind in own.items() if issubclass(kind, nn.Module)]
        found = "has no" if made is None else "has no class or function"
        raise UserError(
            f"{where}: {code.place} {found} {name}; it has {', '.join(networks) or 'no nn.Module'}"
        )
    _check_arguments(made, config, where=where)
    with explained(where):
        model = made(classes=classes, **config.args)
    if not isinstance(model, nn.Module):
        raise UserError(f"{where}: made a {type(model).__name__}, and an nn.Module is needed")
    if not any(True for _ in model.parameters()):
        raise UserError(f"{where}: made a network without parameters; there is nothing to train")
    if any(map(is_lazy, model.parameters())):  # which find their size once they run
        with explained(where), torch.no_grad():
            model.eval()(torch.zeros(2, 3, image_size, image_size))
        model.train()
    return model


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turns what a network raises into a UserError, which names the line of its file."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:MOST_OF_AN_ERROR]
        raise UserError(f"{where}: {said}{_place_of(error)}") from None


def _place_of(error: BaseException) -> str:
    """Returns the innermost line of a network's own code that an error went through."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in _files:
            return f" ({Path(frame.filename).name}, line {frame.lineno})"
    return ""


def _check_arguments(made: Any, config: ModuleConfig, *, where: str) -> None:
    """Raises UserError if the arguments are not what is taken."""
    try:
        takes = inspect.signature(made)
    except (TypeError, ValueError):  # it says nothing of them
        return
    try:
        takes.bind(classes=2, **config.args)
    except TypeError as error:
        given = ", ".join(("classes", *config.args))
        raise UserError(
            f"{where}: model.args: {error}; it takes {', '.join(takes.parameters) or 'nothing'},"
            f" and is given {given}"
        ) from None


def _module(code: Code) -> ModuleType:
    """Runs the code, once a process."""
    if code.source is None:
        if (here := read_code(code.place).sha256) != code.sha256:
            raise UserError(
                f"model.target: {code.place}: the module on this node has the SHA-256 {here}, and"
                f" that of the run {code.sha256}"
            )
        module = import_module(code.place)
        _files.add(module.__file__)
        return module
    name = f"inat_ray_code_{code.sha256[:16]}"
    if name not in sys.modules:
        _files.add(code.place)
        lines = code.source.decode(errors="replace").splitlines(keepends=True)
        linecache.cache[code.place] = (len(code.source), None, lines, code.place)
        module = ModuleType(name)
        sys.modules[name] = module  # before it runs: dataclasses look themselves up there
        try:
            # Numbers that it draws are not missing from the seed of what is built next.
            with torch.random.fork_rng(devices=[]):
                exec(compile(code.source, code.place, "exec"), module.__dict__)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
