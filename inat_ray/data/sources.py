"""Where labelled images come from: folders in one of three layouts, or pictures drawn by code."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data import inaturalist
from inat_ray.data.decode import Fit, Square, UndecodableError, decode_square
from inat_ray.data.demo import Demo
from inat_ray.data.item import Item, Role

_JPEG = {".jfif", ".jpe", ".jpeg", ".jpg"}
EXTENSIONS = _JPEG | {".avif", ".bmp", ".gif", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
"""Photographs that Pillow reads; a file of another kind is passed over."""

VALIDATION_NAMES = ("val", "valid", "validation")
PART_NAMES = {"train", *VALIDATION_NAMES, "test"}

LAYOUTS = (
    "allowed: train/ + val/ (val is the test set, validation is split off from train),"
    " train/ + val/ + test/ (used as given), train/ + test/, or one folder a class"
)


class Source(Protocol):
    """Labelled images that can be read one by one, from several threads."""

    @property
    def classes(self) -> Sequence[str]: ...

    @property
    def items(self) -> Sequence[Item]: ...

    def identity(self) -> Iterator[str]:
        """Lines that change whenever the images do."""

    def content(self, index: int) -> bytes:
        """What tells two images apart: equal exactly where the images are.

        Raises UndecodableError where it cannot be read."""

    def square(self, content: bytes, *, side: int, fit: Fit) -> Square:
        """The pixels of one image. Raises UndecodableError."""


def open_source(config: DataConfig) -> Source:
    """The source that `data.source` names. Raises UserError where it is not usable."""
    if config.source == "demo":
        return Demo(images_per_class=config.demo_images_per_class)
    if config.source == inaturalist.NAME:
        return FolderSource(inaturalist.fetch_inaturalist(config))
    try:
        return FolderSource(_folder(config))
    except PermissionError as error:
        raise UserError(f"data.source: {error.filename}: {error.strerror}") from None


def check_source(config: DataConfig) -> None:
    """Raises UserError where the folder cannot be used; fetches and lists nothing."""
    if config.source not in ("demo", inaturalist.NAME):
        _folder(config)


def _folder(config: DataConfig) -> Path:
    folder = Path(config.source).expanduser()
    if not folder.exists():
        raise UserError(
            f"data.source: {config.source}: there is no such folder;"
            " a folder, 'inaturalist-12k' or 'demo' is allowed"
        )
    if not folder.is_dir():
        raise UserError(f"data.source: {config.source}: is a file; a folder is needed")
    if Path(config.cache).expanduser().resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"data.cache: {config.cache}: lies in the folder of the images, {folder};"
            " choose a folder outside, which is not read as images"
        )
    return folder


class FolderSource:
    """Images in class folders, below `train/`, `val/`, `test/` or directly.

    Folders inside a class folder belong to the class. Links to files, parts and class folders
    are followed; links to folders deeper down are not, since they may lead in circles.
    """

    def __init__(self, folder: Path) -> None:
        folder = _unwrapped(folder)
        parts = _parts(folder)
        found = {role: _images_of_classes(part) for role, part in parts.items()}
        self.classes = _common_classes(folder, parts, found)
        self.items: list[Item] = []
        self._paths: list[Path] = []
        for role, part in parts.items():
            for label, name in enumerate(self.classes):
                for path in found[role][name]:
                    within = as_text(path.relative_to(part).as_posix())
                    name_in_source = f"{role}/{within}" if role else within
                    self.items.append(Item(name=name_in_source, label=label, role=role))
                    self._paths.append(path)

    def identity(self) -> Iterator[str]:
        for item, path in zip(self.items, self._paths, strict=True):
            try:
                status = path.stat()
            except OSError as error:  # such as a link to nowhere: `content` gives the reason
                yield f"{item.name} {error.strerror}"
            else:
                yield f"{item.name} {status.st_size} {status.st_mtime_ns}"

    def content(self, index: int) -> bytes:
        try:
            return self._paths[index].read_bytes()
        except OSError as error:
            raise UndecodableError(f"cannot be read: {error.strerror}") from None

    def square(self, content: bytes, *, side: int, fit: Fit) -> Square:
        return decode_square(content, side=side, fit=fit)


def _unwrapped(folder: Path) -> Path:
    """The folder itself, or the one in it that holds everything."""
    below = _folders(folder)
    if len(below) == 1 and below[0].name.lower() not in PART_NAMES and _folders(below[0]):
        return below[0]
    return folder


def _parts(folder: Path) -> dict[Role, Path]:
    """Role -> folder of class folders. Raises UserError where the parts make no layout."""
    names = {path.name.lower(): path for path in _folders(folder)}
    parts = PART_NAMES & names.keys()
    # A lone `train` among other names is a class: railways, not training images.
    if not parts or (parts == {"train"} and len(names) > 1):
        return {"": folder}
    validation = [names[name] for name in VALIDATION_NAMES if name in names]
    if "train" not in names or len(parts) == 1 or len(validation) > 1:
        found = ", ".join(f"{names[name].name}/" for name in sorted(parts))
        raise UserError(f"data.source: {folder}: holds {found}; {LAYOUTS}")
    if "test" not in names:
        return {"train": names["train"], "test": validation[0]}
    given: dict[Role, Path] = {"train": names["train"], "test": names["test"]}
    if validation:
        given["validation"] = validation[0]
    return given


def _images_of_classes(part: Path) -> dict[str, list[Path]]:
    """Class -> its images, in order of name. Raises UserError for a class without any."""
    found = {as_text(folder.name): list(images_below(folder)) for folder in _folders(part)}
    if empty := [name for name, images in found.items() if not images]:
        raise UserError(
            f"data.source: {part}: no images in {_listed(empty)};"
            " a class folder needs images, and other folders have no place beside it"
        )
    return found


def _common_classes(
    folder: Path, parts: dict[Role, Path], found: dict[Role, dict[str, list[Path]]]
) -> list[str]:
    """The classes, the same in every part and two at least. Raises UserError otherwise."""
    everywhere = sorted({name for classes in found.values() for name in classes})
    for role, classes in found.items():
        if missing := [name for name in everywhere if name not in classes]:
            raise UserError(
                f"data.source: {parts[role]}: has no class folder {_listed(missing)}, which"
                " another part has; every part needs the same classes"
            )
    if len(everywhere) < 2:
        classes_found = f"one class, {everywhere[0]}" if everywhere else "no class folders"
        raise UserError(
            f"data.source: {folder}: holds {classes_found}; at least two are needed; {LAYOUTS}"
        )
    if "" in parts and (shared := _signs_of_parts(folder)):
        raise UserError(
            f"data.source: {folder}: {_listed(everywhere)} all hold a folder {_listed(shared)},"
            f" so they seem to be parts rather than classes; {LAYOUTS}"
        )
    return everywhere


def _signs_of_parts(folder: Path) -> list[str]:
    """The folders that all share where one is called like `training`: what it holds are classes."""
    seeming = _folders(folder)
    if not any(path.name.lower().startswith("train") for path in seeming):
        return []
    return sorted(set.intersection(*({inner.name for inner in _folders(p)} for p in seeming)))


def _folders(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith((".", "__MACOSX"))
    )


def images_below(folder: Path) -> Iterator[Path]:
    """Image files at any depth, in order of name; hidden and other files are passed over."""
    with os.scandir(folder) as entries:
        visible = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    for entry in visible:
        if entry.is_dir(follow_symlinks=False):
            yield from images_below(Path(entry.path))
        elif Path(entry.name).suffix.lower() in EXTENSIONS:
            yield Path(entry.path)


def as_text(name: str) -> str:
    """A file name, with bytes that are no UTF-8 (old archives have them) as `\\xe9`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
