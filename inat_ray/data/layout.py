"""Finds the parts of a data set: by the settings, or by names of folders and what they hold.

A wrong guess would train on test images, or take parts for classes, without a word. So what is not
certain is refused, and the message names the settings that decide it.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data.item import Role
from inat_ray.data.names import as_text, listed, shown_name
from inat_ray.data.walk import folders_in, holds_photographs

ROLES: dict[str, Role] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""Word in a folder's name -> the use of its images."""

ORDER: tuple[Role, ...] = ("train", "test", "validation")
"""Order of the parts in a pack; the name of the pack depends on it."""

GENERIC = {"data", "dataset", "folder", "images", "image", "imgs", "img", "set", "split"}
"""Words that say nothing about the use of a folder: `train_images`, `test_set`."""

TWO_AS_ONE = re.compile(f"({'|'.join(ROLES)})({'|'.join(GENERIC)})")
"""Two words that are written as one: `trainset`."""

OTHER_PARTS = {"dev", "eval", "evaluation", "fold", "holdout", "part", "pred", "prediction"}
OTHER_PARTS |= {"subset", "te", "tr", "trn", "ts", "tst", "unlabeled", "unlabelled"}
"""Words in names of parts whose use is not certain: never guessed, but refused."""

LAYOUTS = (
    "allowed: train/ + val/ (val is the test set, validation is split off from train),"
    " train/ + val/ + test/ (used as given), train/ + test/, or one folder a class;"
    " data.train, data.validation and data.test name the folders of any other layout"
    " (data.train=. takes every folder for a class)"
)


@dataclass(frozen=True)
class Parts:
    """Folders of class folders by role; "": a folder that is still to be split."""

    folders: dict[Role, Path]
    beside: tuple[Path, ...] = ()
    """Folders that are neither parts nor classes."""


def find_parts(folder: Path, config: DataConfig) -> Parts:
    """Finds the parts that the settings name, and recognizes the others unless training is named.

    Raises UserError if a named folder cannot be used, or if names look like parts and make no
    layout.
    """
    given = _given_parts(folder, config)
    if "train" in given:
        lone: dict[Role, Path] = {"": given["train"]}
        return Parts(lone if len(given) == 1 else given, tuple(given.values()))
    found = recognized_parts(folder, without=tuple(given.values()))
    if not given:
        return found
    parts: dict[Role, Path] = {role or "train": path for role, path in found.folders.items()}
    # A folder `val` alone counts as the test set; not if the settings name another one.
    if "test" in given and "test" in parts and role_of(parts["test"].name) == "validation":
        parts["validation"] = parts.pop("test")
    others = (*found.beside, *found.folders.values(), *given.values())
    return Parts(_in_order(parts | given), others)


def _given_parts(folder: Path, config: DataConfig) -> dict[Role, Path]:
    settings = {role: getattr(config, role) for role in ORDER}
    given = {role: folder / Path(p).expanduser() for role, p in settings.items() if p is not None}
    for role, path in given.items():
        if not path.is_dir():
            raise UserError(
                f"data.{role}: {settings[role]}: there is no such folder; one in"
                f" {shown_name(as_text(str(folder)))}, or a whole path, is needed"
            )
    found = {role: inner_folder(path.resolve()) for role, path in given.items()}
    for one, other in permutations(found, 2):
        # Directly below it, a part lies beside the class folders; it does not count as a class.
        inside = found[other].is_relative_to(found[one]) and found[other].parent != found[one]
        if inside or found[one] == found[other]:
            raise UserError(
                f"data.{other}: {settings[other]}: lies in the folder of data.{one};"
                " each needs images of its own"
            )
    return found


def recognized_parts(folder: Path, *, without: Sequence[Path] = ()) -> Parts:
    """Recognizes parts by the names and content of folders, apart from those in `without`."""
    folder = _unwrapped(folder)
    folders = [path for path in folders_in(folder) if path.resolve() not in without]
    groups = [group for group in _groups(folders).values() if "train" in group and len(group) > 1]
    if len(groups) > 1 or any(len(paths) > 1 for group in groups for paths in group.values()):
        raise _refusal(folder, folders)
    if groups:
        return _layout(folder, folders, parts={role: path for role, [path] in groups[0].items()})
    training = [path for path in folders if role_of(path.name) == "train"]
    alone = folders == training and any(map(folders_in, training))
    if not alone and not _seem_parts(folders):
        _check_no_parts_inside(folder, folders)
        return Parts({"": folder})
    if len(training) != 1 or not (alone or without):
        raise _refusal(folder, folders)
    return Parts({"": inner_folder(training[0])}, tuple(set(folders) - set(training)))


def _check_no_parts_inside(folder: Path, classes: Sequence[Path]) -> None:
    """Raises UserError if class folders hold parts: their test images would be trained on."""
    for path in classes:
        roles = {role_of(inner.name) for inner in folders_in(path)}
        if {"train", "test"} <= roles or {"train", "validation"} <= roles:
            raise UserError(
                f"data.source: {shown_name(as_text(str(folder)))}: {path.name}/ holds a folder of"
                " training and one of test or validation images; the parts are needed above the"
                " classes, as in train/CLASS/ and test/CLASS/"
            )


def inner_folder(part: Path) -> Path:
    """Returns the part, or the only folder in it if it repeats the name: `seg_train/seg_train`."""
    inner = _only_folder(part)
    if inner is None:
        return part
    alike = role_of(part.name) and role_of(inner.name) == role_of(part.name)
    return inner_folder(inner) if alike or inner.name == part.name else part


def role_of(name: str) -> Role:
    """Returns the use that a folder of that name may have; "" if the name does not say."""
    roles = {ROLES[word] for word in _words(name) if word in ROLES}
    return roles.pop() if len(roles) == 1 else ""


def _words(name: str) -> list[str]:
    """Splits `Train_Images`, `trainingSet`, `test1` or `trainset` into words in lower case."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|[^\W\d_]+", name)]
    split = [(word, TWO_AS_ONE.fullmatch(word)) for word in words]
    return [part for word, two in split for part in (two.groups() if two else [word])]


def _groups(folders: Sequence[Path]) -> dict[str, dict[Role, list[Path]]]:
    """Groups folders by the rest of their names (`seg` of `seg_train`), then by role.

    The parts of a data set have names alike, so `bullet_train` and `test_tube` are no parts.
    """
    groups: dict[str, dict[Role, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in folders:
        if role := role_of(path.name):
            others = {word for word in _words(path.name) if word not in ROLES}
            groups[" ".join(sorted(others - GENERIC))][role].append(path)
    return groups


def _unwrapped(folder: Path) -> Path:
    """Returns the folder, or the only one in it, at any depth, that holds everything."""
    inner = _only_folder(folder)
    return folder if inner is None or role_of(inner.name) else _unwrapped(inner)


def _only_folder(folder: Path) -> Path | None:
    """Returns the only folder in a folder, if it holds folders itself."""
    below = folders_in(folder)
    return below[0] if len(below) == 1 and folders_in(below[0]) else None


def _layout(folder: Path, folders: Sequence[Path], *, parts: dict[Role, Path]) -> Parts:
    """Turns parts into a layout: a lone validation folder is the test set, unlabeled ones go."""
    inner = {role: inner_folder(path) for role, path in parts.items()}
    classes = _classes(inner["train"])
    if not classes:
        lacking = f" ({as_text(inner['train'].name)}/ holds no class folders)"
        raise _refusal(folder, folders, why=lacking)
    labeled = {r: path for r, path in inner.items() if not _is_unlabeled(path, classes)}
    beside = tuple(path for path in folders if path not in [parts[role] for role in labeled])
    if labeled.keys() == {"train"}:
        return Parts({"": labeled["train"]}, beside)
    if "test" not in labeled:
        labeled = {"train": labeled["train"], "test": labeled["validation"]}
    return Parts(_in_order(labeled), beside)


def _in_order(parts: dict[Role, Path]) -> dict[Role, Path]:
    return {role: parts[role] for role in ORDER if role in parts}


def _is_unlabeled(part: Path, training: set[str]) -> bool:
    """Whether a part holds photographs, but none in a folder of a class."""
    classes = _classes(part)
    return len(classes) < 2 and not classes & training and holds_photographs(part)


def _seem_parts(folders: Sequence[Path]) -> bool:
    """Whether folders that make no layout look like parts rather than classes.

    One has a name like `test`; or a name like any part's, and it holds folders as a part does:
    classes that another folder has too, or while no other folder has any. So `train` beside `bus`
    is a class.
    """
    if any(path.name.lower() in ROLES and role_of(path.name) != "train" for path in folders):
        return True
    named = [path for path in folders if _is_called_like_a_part(path)]
    below = {path: _classes(inner_folder(path)) for path in folders if named}
    for path in named:
        others = set[str]().union(*(below[other] for other in folders if other != path))
        alone = len(folders) > 1 and not others
        if len(below[path]) > 1 and (below[path] & others or alone):
            return not holds_photographs(path, deep=False)
    return False


def _is_called_like_a_part(path: Path) -> bool:
    return not {*ROLES, *OTHER_PARTS}.isdisjoint(_words(path.name))


def _classes(part: Path) -> set[str]:
    """Returns the names of the folders in a part that hold photographs."""
    return {path.name for path in folders_in(part) if holds_photographs(path)}


def _refusal(folder: Path, folders: Sequence[Path], *, why: str = "") -> UserError:
    found = listed([f"{as_text(path.name)}/" for path in folders if _is_called_like_a_part(path)])
    return UserError(
        f"data.source: {shown_name(as_text(str(folder)))}: holds {found}, which look like parts"
        f" rather than classes and make no layout{why}; {LAYOUTS}"
    )
