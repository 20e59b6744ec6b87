"""Sources of labeled images: folders in one of several layouts, or pictures drawn by code."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import NAMED_SOURCES, DataConfig
from inat_ray.data import inaturalist
from inat_ray.data.demo import Demo
from inat_ray.data.item import Item, Role
from inat_ray.data.layout import LAYOUTS, Parts, find_parts
from inat_ray.data.names import as_text, listed, shown_name
from inat_ray.data.spans import Files, Images
from inat_ray.data.walk import PassedOver, folders_in, images_below, strays_in, told


class Source(Images, Protocol):
    """Labeled images."""

    @property
    def classes(self) -> Sequence[str]: ...

    @property
    def items(self) -> Sequence[Item]: ...

    @property
    def parts(self) -> Mapping[Role, str]:
        """Role -> its folder, as a person knows it."""

    @property
    def passed_over(self) -> PassedOver:
        """The files in the folders that are not read."""

    def identity(self) -> Iterator[str]:
        """Yields lines that change whenever the images do."""


def open_source(config: DataConfig) -> Source:
    """Opens the source that `data.source` names. Raises UserError if it is not usable."""
    if config.source == "demo":
        return Demo(images_per_class=config.demo_images_per_class)
    try:
        fetched = config.source == inaturalist.NAME
        folder = inaturalist.fetch_inaturalist(config) if fetched else _folder(config)
        folder = folder.resolve()
        return FolderSource(find_parts(folder, config), folder=folder)
    except PermissionError as error:
        raise UserError(f"data.source: {error.filename}: {error.strerror}") from None


def check_source(config: DataConfig) -> None:
    """Raises UserError if the folder cannot be used; fetches and lists nothing."""
    if config.source not in NAMED_SOURCES:
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


class FolderSource(Files):
    """Images in class folders, below the folders of the parts or directly.

    Folders inside a class folder belong to the class. Links to files, parts and class folders
    are followed; links to folders deeper down are not, since they may lead in circles.
    """

    def __init__(self, parts: Parts, *, folder: Path) -> None:
        self.passed_over: PassedOver = Counter()
        self.parts: Mapping[Role, str] = {
            role: _place(part, folder) for role, part in parts.folders.items() if role
        }
        found = {role: self._of_classes(part, parts) for role, part in parts.folders.items()}
        self.classes = _common_classes(folder, parts, found)
        self.items: list[Item] = []
        paths: list[Path] = []
        for role, part in parts.folders.items():
            before, after = f"{part}/", f"{role}/" if role else ""
            for label, name in enumerate(self.classes):
                for path in found[role][name]:
                    within = as_text(str(path).removeprefix(before))
                    self.items.append(Item(name=after + within, label=label, role=role))
                paths += found[role][name]
        super().__init__(paths)
        self.passed_over |= _beside(parts)

    def identity(self) -> Iterator[str]:
        for item, path in zip(self.items, map(Path, self.paths), strict=True):
            try:
                status = path.stat()
            except OSError as error:  # such as a link to nowhere: `content` gives the reason
                yield f"{item.name} {error.strerror}"
            else:
                yield f"{item.name} {status.st_size} {status.st_mtime_ns}"

    def _of_classes(self, part: Path, parts: Parts) -> dict[str, list[Path]]:
        """Returns class -> images, in order of name. Raises UserError for a class without any."""
        self.passed_over += strays_in(part)
        found: dict[str, list[Path]] = {}
        empty: dict[str, PassedOver] = {}
        for folder in folders_in(part):
            if folder.resolve() in parts.beside:
                continue
            passed_over: PassedOver = Counter()
            name = as_text(folder.name)
            found[name] = list(images_below(folder, passed_over))
            self.passed_over += passed_over
            if not found[name]:
                empty[name] = passed_over
        if empty:
            others = sum(empty.values(), Counter())
            raise UserError(
                f"data.source: {part}: no images in {listed(list(empty))};"
                f"{f' ignored there: {told(others)};' if others else ''}"
                " each class folder needs images, and only class folders may be beside it"
            )
        return found


def _place(part: Path, folder: Path) -> str:
    """Returns a part's folder as a person knows it."""
    inside = part.is_relative_to(folder)
    return shown_name(as_text(str(part.relative_to(folder) if inside else part)))


def _beside(parts: Parts) -> PassedOver:
    """Counts the photographs in folders that are not used, by folder."""
    counts: PassedOver = Counter()
    for path in parts.beside:
        if path not in parts.folders.values() and (count := sum(1 for _ in images_below(path))):
            counts[f"in {shown_name(as_text(path.name))}/ (not used)"] = count
    return counts


def _common_classes(
    folder: Path, parts: Parts, found: dict[Role, dict[str, list[Path]]]
) -> list[str]:
    """Returns the classes, the same in every part and two at least. Raises UserError otherwise."""
    everywhere = sorted({name for classes in found.values() for name in classes})
    for role, classes in found.items():
        if missing := [name for name in everywhere if name not in classes]:
            raise UserError(
                f"data.source: {parts.folders[role]}: has no class folder {listed(missing)}, which"
                " another part has; every part needs the same classes"
            )
    if len(everywhere) < 2:
        only = f"one class, {shown_name(everywhere[0])}" if everywhere else "no class folders"
        raise UserError(f"data.source: {folder}: holds {only}; at least two are needed; {LAYOUTS}")
    return everywhere
