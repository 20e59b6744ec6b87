"""The code of a network of one's own: who may run it, and how it is known again.

A process runs code only if it was told so by the person at the command line: their own experiment
names it, or --code does; or by the driver of that person's run. The name of a target in a run's
folder, a model's file or a storage makes nobody run anything.
"""

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from inat_ray.config.errors import UserError, readable
from inat_ray.config.experiment import Experiment
from inat_ray.config.model import TARGET
from inat_ray.config.overrides import texts_of_models

SHOWN_DIGITS = 16
"""Of a SHA-256."""


@dataclass(frozen=True)
class Code:
    """The code that builds a network."""

    place: str
    """The file's name, or that of the module: what stands before the colon of `model.target`."""
    source: bytes | None
    """The file; None for a module that is installed on every node."""
    sha256: str


_allowed: dict[str, Code] = {}
"""SHA-256 -> code that this process may run."""

_named: dict[str, Code] = {}
"""The same, of code that --code names; under "" if it takes the place of any other."""


def read_code(place: str, *, where: str = "model.target") -> Code:
    """Reads a file (`.py`) or an installed module, and does not run it.

    Raises UserError that begins with `where`, what names it, if there is none.
    """
    if place.endswith(".py"):
        path = Path(place).expanduser()
        if not path.is_file():
            raise UserError(f"{where}: there is no file {path}")
        with readable(path, remedy="the code of a network of your own is needed"):
            source = path.read_bytes()
        return Code(path.name, source, sha256(source).hexdigest())
    try:
        found = importlib.util.find_spec(place)
    except Exception:  # of a package around it, which is imported for this
        found = None
    if found is None or found.origin is None or not Path(found.origin).is_file():
        raise UserError(f"{where}: no module {place} is installed here; a file's name ends in .py")
    return Code(place, None, sha256(Path(found.origin).read_bytes()).hexdigest())


def allow(*codes: Code) -> None:
    """Lets this process run them."""
    _allowed.update({code.sha256: code for code in codes})


def allowed() -> tuple[Code, ...]:
    """Returns what this process may run, for others that work for the same person."""
    return tuple((_allowed | _named).values())


def name_code(place: str | None, *, changed: bool = False) -> None:
    """Lets this process run the code that a person names, until they name other code or none.

    With `changed` it builds networks that were trained with other code, too. Raises UserError if
    there is no such code.
    """
    _named.clear()
    if place is not None:
        code = read_code(place, where="--code")
        _named.update({code.sha256: code} | ({"": code} if changed else {}))
    elif changed:
        raise UserError("--changed-code: needs --code FILE")


@contextmanager
def code_named(place: str | Path | None, *, changed: bool) -> Iterator[None]:
    """Lets this process run the code within the context, as `name_code` does."""
    name_code(None if place is None else str(place), changed=changed)
    try:
        yield
    finally:
        name_code(None)


def check_named(*experiments: Experiment | None) -> None:
    """Raises UserError if a person names code, and none of the experiments has a use for it.

    None: one that cannot be read.
    """
    if _named and not any(each is None or _named_by(each)[0] for each in experiments):
        named = next(iter(_named.values())).place
        raise UserError(
            f"--code: {named}: there is no network of your own (model.kind: module) here that needs"
            " code; leave it out"
        )


def code_for(target: str, digest: str | None) -> Code:
    """Returns the code of a target, by its SHA-256. Raises UserError if it may not run here."""
    allowed = _allowed | _named
    if code := allowed.get(digest or "") or _named.get(""):
        return code
    if not allowed:
        raise UserError(
            f"model.target: {target}: is code, and that of a run or a model's file runs only if you"
            f" name it: --code {target.rpartition(':')[0]}"
        )
    named = list(allowed.values())[-1]
    known = f"SHA-256 {digest[:SHOWN_DIGITS]}..." if digest else "no SHA-256"
    raise UserError(
        f"model.target: {target}: was code of {known}, and {named.place} has SHA-256"
        f" {named.sha256[:SHOWN_DIGITS]}...; --changed-code uses it all the same"
    )


def own_code(experiment: Experiment) -> Experiment:
    """Lets this process run the code that a person's own experiment names.

    Returns the experiment with that code's SHA-256. An experiment that has one already is a run's,
    see `checked_code`. Raises UserError if there is no such code.
    """
    targets, digest = _named_by(experiment)
    if not targets or digest is not None:
        return checked_code(experiment)
    places = sorted({target.rpartition(":")[0] for target in targets})
    if len(places) > 1:
        raise UserError(
            f"model.target: {', '.join(places)}: the networks of an experiment come from one file;"
            " put them into one"
        )
    code = read_code(places[0])
    if _named and code.sha256 not in _named:
        raise UserError(f"--code: is for the code of a run, and the experiment names {places[0]}")
    allow(code)
    known = _with_code(experiment, code)
    if _named_by(known)[1] is None:
        raise UserError(
            "search.parameters.model.target: beside other kinds, a network of your own is listed as"
            " a whole model: model: {values: [{kind: cnn}, {kind: module, target: ...}]}"
        )
    return known


def checked_code(experiment: Experiment) -> Experiment:
    """Returns a run's experiment with the SHA-256 of the code that it goes on with.

    Raises UserError if that may not run here.
    """
    check_named(experiment)
    code = code_of(experiment)
    return experiment if code is None else _with_code(experiment, code)


def code_of(experiment: Experiment) -> Code | None:
    """Returns the code of an experiment's own networks; None if it has none.

    Raises UserError if it may not run here.
    """
    targets, digest = _named_by(experiment)
    return code_for(targets[0], digest) if targets else None


def locate_targets(tree: Any, folder: Path) -> None:
    """Gives targets in a file's settings, which are relative to its folder, full paths.

    Those of settings with a SHA-256 are a run's, and stay as they are.
    """
    if _named_by(tree)[1] is not None:
        return
    for holder, key in _targets(tree):
        place, _, name = holder[key].rpartition(":")
        if place.endswith(".py"):
            holder[key] = f"{(folder / Path(place).expanduser()).absolute()}:{name}"
        if key == "target":
            holder["sha256"] = None  # not that of a file which this one extends


def _with_code(experiment: Experiment, code: Code) -> Experiment:
    """Returns the experiment as a run keeps it: with the name of the code's file, and SHA-256."""
    tree: Any = experiment.model_dump(mode="json")
    for holder, key in _targets(tree):
        holder[key] = f"{code.place}:{holder[key].rpartition(':')[2]}"
        if key == "target":
            holder["sha256"] = code.sha256
    return Experiment.model_validate(tree)


def _named_by(tree: Any) -> tuple[list[str], str | None]:
    """Returns the targets in an experiment or its tree, and the SHA-256 of their code if known."""
    found = _targets(tree.model_dump(mode="json") if isinstance(tree, Experiment) else tree)
    digests = (holder.get("sha256") for holder, key in found if key == "target")
    return [holder[key] for holder, key in found], next(filter(None, digests), None)


def _targets(tree: Any) -> list[tuple[Any, Any]]:
    """Returns (mapping or list, key) of each target in a tree of settings, also of its search."""
    return [
        (holder, key)
        for holder, key in texts_of_models(tree, "target")
        if re.search(TARGET, holder[key])
    ]
