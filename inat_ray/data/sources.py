"""Where labelled images come from: folders in one of three layouts, or pictures drawn by code."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data.decode import Fit, Square, decode_square
from inat_ray.data.demo import Demo
from inat_ray.data.inaturalist import fetch_inaturalist
from inat_ray.data.item import Item, Role

_JPEG = {".jfif", ".jpe", ".jpeg", ".jpg"}
EXTENSIONS = _JPEG | {".avif", ".bmp", ".gif", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
"""Photographs that Pillow reads; a file of another kind is passed over."""

LAYOUTS = (
    "allowed: train/ + val/ (val is the test set, validation is split off from train),"
    " train/ + val/ + test/ (used as given), or one folder a class"
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
        """What tells two images apart: equal exactly where the images are."""

    def square(self, content: bytes, *, side: int, fit: Fit) -> Square:
        """The pixels of one image. Raises UndecodableError."""


def open_source(config: DataConfig) -> Source:
    """The source that `data.source` names. Raises UserError where it is not usable."""
    if config.source == "demo":
        return Demo(images_per_class=config.demo_images_per_class)
    if config.source == "inaturalist-12k":
        return FolderSource(fetch_inaturalist(config))
    folder = Path(config.source).expanduser()
    if not folder.exists():
        raise UserError(
            f"data.source: {config.source}: there is no such folder;"
            " a folder, 'inaturalist-12k' or 'demo' is allowed"
        )
    if not folder.is_dir():
        raise UserError(f"data.source: {config.source}: is a file; a folder is needed")
    return FolderSource(folder)


class FolderSource:
    """Images in class folders, below `train/`, `val/`, `test/` or directly."""

    def __init__(self, folder: Path) -> None:
        parts = _parts(_unwrapped(folder))
        self.classes = _classes_of(parts)
        self.items: list[Item] = []
        self._paths: list[Path] = []
        for role, part in parts.items():
            self._add(role, part)
        if not self.items:
            raise UserError(f"data.source: {folder}: holds no images in class folders; {LAYOUTS}")

    def identity(self) -> Iterator[str]:
        for item, path in zip(self.items, self._paths, strict=True):
            status = path.stat()
            yield f"{item.role} {item.name} {status.st_size} {status.st_mtime_ns}"

    def content(self, index: int) -> bytes:
        return self._paths[index].read_bytes()

    def square(self, content: bytes, *, side: int, fit: Fit) -> Square:
        return decode_square(content, side=side, fit=fit)

    def _add(self, role: Role, part: Path) -> None:
        for label, name in enumerate(self.classes):
            for path in _images_below(part / name):
                within = path.relative_to(part).as_posix()
                name_in_source = f"{role}/{within}" if role else within
                self.items.append(Item(name=name_in_source, label=label, role=role))
                self._paths.append(path)


def _unwrapped(folder: Path) -> Path:
    """The folder itself, or the only folder in it where that has the `train/`."""
    below = _folders(folder)
    if len(below) == 1 and (below[0] / "train").is_dir():
        return below[0]
    return folder


def _parts(folder: Path) -> dict[Role, Path]:
    """Role -> folder of class folders."""
    names = {path.name.lower(): path for path in _folders(folder)}
    validation = [names[n] for n in ("val", "valid", "validation") if n in names]
    if "train" not in names:
        return {"": folder}
    if len(validation) > 1:
        found = ", ".join(path.name for path in validation)
        raise UserError(f"data.source: {folder}: {found}: only one of them is allowed; {LAYOUTS}")
    if "test" in names:
        held = {"test": names["test"]}
        own = {"validation": validation[0]} if validation else {}
        return {"train": names["train"], **own, **held}  # type: ignore[dict-item]
    if not validation:
        raise UserError(f"data.source: {folder}: has train/ but neither val/ nor test/; {LAYOUTS}")
    return {"train": names["train"], "test": validation[0]}


def _classes_of(parts: dict[Role, Path]) -> list[str]:
    """The class folders, the same in every part. Raises UserError naming the odd ones."""
    found = {
        role: {path.name for path in _folders(part) if _has_images(path)}
        for role, part in parts.items()
    }
    everywhere = set.union(*found.values())
    for role, names in found.items():
        if missing := sorted(everywhere - names):
            raise UserError(
                f"data.source: {parts[role]}: has no images of {', '.join(missing)},"
                " which the other parts have; every part needs the same classes"
            )
    if len(everywhere) == 1:
        raise UserError(
            f"data.source: {next(iter(parts.values()))}: has one class only,"
            f" {everywhere.pop()}; at least two are needed; {LAYOUTS}"
        )
    return sorted(everywhere)


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _has_images(folder: Path) -> bool:
    return next(_images_below(folder), None) is not None


def _images_below(folder: Path) -> Iterator[Path]:
    """Image files at any depth, in order of name; hidden and other files are passed over."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _images_below(path)
        elif path.suffix.lower() in EXTENSIONS:
            yield path
