"""Makes an `Experiment` from YAML files, `--set` and other options."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from inat_ray.config.code import locate_targets
from inat_ray.config.distributions import Tree
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import NAMED_SOURCES, Experiment
from inat_ray.config.faults import explain, shown
from inat_ray.config.overrides import (
    PARAMETERS,
    fix_parameters,
    leave_other_kind,
    parse_setting,
    put,
    settings_in,
    texts_of_models,
)
from inat_ray.config.shipped import find_experiment
from inat_ray.config.wandb.sweep import answer, is_wandb_sweep, translate
from inat_ray.config.wandb.translation import Translation, UnansweredError
from inat_ray.config.yaml_reader import read_yaml

MOST_FILES = 16
"""The most in a row, each of which extends the next."""

Tell = Callable[[str], None]

Source = Path | Tree
"""An experiment: a file, or its settings, which may extend a file as those of one do."""

Given = tuple[str, Any, str]
"""A dotted key, its value, and the option that gave them."""


def load_experiment(
    source: Source | None,
    *,
    settings: Iterable[str] = (),
    options: Mapping[str, Any] | None = None,
    tell: Tell = lambda _: None,
) -> Experiment:
    """Returns the experiment of a file, a shipped name or a tree (None: all defaults), changed.

    First come `settings`, lines KEY=VALUE with a dotted key and a YAML value, then `options`,
    dotted key -> (name of the command-line option, value). `tell` hears which parameters of the
    search they fix. A W&B sweep is read as the experiment that it stands for.

    Raises UserError that names the file or option, the key, the value and what is allowed.
    """
    origins: dict[str, str] = {}
    given = _given(settings, options or {})
    if not isinstance(source, Path):
        tree = _with_ancestors(deepcopy(source or {}), Path(label(source)), origins, ())
    elif is_wandb_sweep(tree := _read_with_ancestors(find_experiment(source), origins, ())):
        found, given = _translated(tree, given, source)
        tree, origins = found.tree, dict.fromkeys(settings_in(found.tree), str(source))
    return _settle(tree, origins=origins, given=given, tell=tell)


def label(source: Source | None) -> str:
    """Returns what messages call an experiment: its file, or its name."""
    return str((source or {}).get("name", "")) if not isinstance(source, Path) else str(source)


def read_sweep(
    path: Path, *, settings: Iterable[str] = (), options: Mapping[str, Any] | None = None
) -> Translation | None:
    """Returns what the W&B sweep in a file is here; None if the file is an experiment.

    Raises UnansweredError as `load_experiment` does, which has the same arguments.
    """
    tree = _read(find_experiment(path), inherited=False)
    if not is_wandb_sweep(tree):
        return None
    found, _ = _translated(tree, _given(settings, options or {}), path)
    return found


def _translated(tree: Tree, given: list[Given], path: Path) -> tuple[Translation, list[Given]]:
    """Returns a W&B sweep as an experiment, and what of `given` is about the experiment."""
    taken = answer(tree, [(key, value) for key, value, _ in given])
    rest = [each for each in given if each[0] not in taken]
    found = translate(tree, given={key: value for key, value, _ in rest}, name=path.stem)
    if found.questions:
        raise UnansweredError(str(path), found.questions)
    return found, rest


def override(
    experiment: Experiment, *, settings: Iterable[str], options: Mapping[str, Any]
) -> Experiment:
    """Returns the experiment with `--set` lines and options on top, as in `load_experiment`."""
    tree = experiment.model_dump(mode="json")
    given = _given(settings, options)
    return _settle(tree, origins={}, given=given, tell=lambda _: None)


def _given(settings: Iterable[str], options: Mapping[str, Any]) -> list[Given]:
    lines = [(*parse_setting(line), "--set") for line in settings]
    return [*lines, *((key, value, option) for key, (option, value) in options.items())]


def _settle(
    tree: Tree, *, origins: dict[str, str], given: Sequence[Given], tell: Tell
) -> Experiment:
    for key, value, option in given:
        leave_other_kind(tree, key, value, given=[each for each, _, _ in given])
        put(tree, key, value)
        origins |= dict.fromkeys(settings_in({key: value}), option)
        for note in fix_parameters(tree, key, value, option=option):
            tell(note)
    _locate_weights(tree)
    try:
        return _located(Experiment.model_validate(tree))
    except ValidationError as error:
        raise UserError(explain(error, origins)) from None


def _located(experiment: Experiment) -> Experiment:
    """Returns it with full paths of the data, since a run may be resumed from another folder."""
    data = experiment.data
    relative = {
        key: str(Path(place).absolute())
        for key, place in (("source", data.source), ("cache", data.cache))
        if place not in NAMED_SOURCES and not place.startswith("~")
    }
    return experiment.model_copy(update={"data": data.model_copy(update=relative)})


def _locate_weights(tree: Tree) -> None:
    """Gives weights in files, also those of a search, full paths for the same reason."""
    for holder, key in texts_of_models(tree, "weights"):
        path = Path(holder[key])
        with suppress(OSError):  # a name that is too long is for validation to tell
            if path.suffix and path.is_file():
                holder[key] = str(path.absolute())


def dump_experiment(experiment: Experiment) -> str:
    """Returns the resolved experiment as YAML that `load_experiment` reads back."""
    return yaml.safe_dump(
        experiment.model_dump(mode="json"), sort_keys=False, default_flow_style=None
    )


def brief_experiment(experiment: Experiment) -> str:
    """Returns what was written of the experiment, without defaults, as YAML that reads back."""
    tree = experiment.model_dump(mode="json", exclude_unset=True)
    return yaml.safe_dump(tree, sort_keys=False, default_flow_style=None, width=100)


def _read_with_ancestors(path: Path, origins: dict[str, str], below: tuple[Path, ...]) -> Tree:
    tree = _read(path, inherited=bool(below))
    if path.resolve() in below:
        raise UserError(f"{path}: extends itself, by way of {' -> '.join(map(str, below))}")
    if len(below) == MOST_FILES:
        raise UserError(f"{below[0]}: extends: more than {MOST_FILES} files in a row")
    return _with_ancestors(tree, path, origins, below)


def _with_ancestors(
    tree: Tree, path: Path, origins: dict[str, str], below: tuple[Path, ...]
) -> Tree:
    """Returns the settings of `path` on top of those that they extend; changes `tree`."""
    locate_targets(tree, path.parent)
    parent = tree.pop("extends", None)
    inherited: Tree = {}
    if parent is not None:
        if not isinstance(parent, str):
            raise UserError(
                f"{path}: extends: {shown(parent)}: the name of one YAML file is allowed"
            )
        inherited = _read_with_ancestors(path.parent / parent, origins, (*below, path.resolve()))
    origins |= dict.fromkeys(settings_in(tree), str(path))
    return _merge(inherited, tree)


def _read(path: Path, *, inherited: bool) -> Tree:
    """Reads a file of settings; one that is `inherited` was named by another."""
    # An experiment from a stranger may name any file of the user's, and its errors may be posted
    # somewhere: they must not quote what is in such a file.
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


def _merge(base: Tree, over: Tree, *, prefix: str = "") -> Tree:
    """Returns `over` on top of `base`: mappings merge key by key, all else replaces.

    A mapping of another kind replaces, too: a ResNet takes over nothing from a CNN. So does a
    parameter of the search, since a range and a list of values have no keys in common.
    """
    merged = dict(base)
    for key, value in over.items():
        if prefix == PARAMETERS and value is None:
            merged.pop(key, None)
        elif prefix == PARAMETERS or not isinstance(value, dict):
            merged[key] = value
        else:
            below = merged.get(key)
            another = isinstance(below, dict) and any(
                name in value and value[name] != below.get(name) for name in ("kind", "strategy")
            )
            kept = below if isinstance(below, dict) and not another else {}
            merged[key] = _merge(kept, value, prefix=f"{prefix}{key}.")
    return merged
