"""Finds the photographs in a folder, and counts by reason what is ignored."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from inat_ray.data.decode import AVIF, HEIC
from inat_ray.data.names import as_text, shown_name

PassedOver = Counter[str]
"""Reason -> how many files or folders."""

_JPEG = {".jfif", ".jpe", ".jpeg", ".jpg"}
_HEIC = {".heic", ".heif", ".hif"}
_READ = _JPEG | {".bmp", ".gif", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
EXTENSIONS = _READ | (_HEIC if HEIC else set()) | ({".avif"} if AVIF else set())
"""Photographs of these can be read here; other files are ignored."""

LITTER = {
    "#recycle",
    "$recycle.bin",
    "@eadir",
    "@recycle",
    "@tmp",
    "__macosx",
    "lost+found",
    "system volume information",
}
"""Folders that a NAS or a desktop puts among photographs: small copies, and what was deleted."""


def images_below(folder: Path, passed_over: PassedOver | None = None) -> Iterator[Path]:
    """Yields image files at any depth, in order of name; counts the rest in `passed_over`.

    Links to folders are not followed, since they may lead in circles.
    """
    passed_over = Counter() if passed_over is None else passed_over
    for entry in _entries(folder):
        if reason := _why_not(entry):
            passed_over[reason] += 1
        elif entry.is_dir():
            yield from images_below(Path(entry.path), passed_over)
        else:
            yield Path(entry.path)


def holds_photographs(folder: Path, *, deep: bool = True) -> bool:
    """Whether there are any, at any depth or (not `deep`) directly; stops at the first."""
    with os.scandir(folder) as entries:
        return any(
            holds_photographs(Path(entry.path)) if entry.is_dir() else True
            for entry in entries
            if not _why_not(entry) and (deep or not entry.is_dir())
        )


def folders_in(folder: Path) -> list[Path]:
    """Returns the folders that may be classes or parts, also linked ones, in order of name."""
    found = (entry for entry in _entries(folder) if entry.is_dir())
    return sorted(Path(entry.path) for entry in found if not _is_litter(entry))


def strays_in(folder: Path) -> PassedOver:
    """Counts what lies beside the class folders, by the reason why it is ignored."""
    beside = (entry for entry in _entries(folder) if _is_litter(entry) or not entry.is_dir())
    return Counter(_why_not(entry) or "photographs beside the class folders" for entry in beside)


def told(passed_over: PassedOver) -> str:
    """Returns '20 .heic, 2 hidden', the most frequent first."""
    ordered = sorted(passed_over.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {reason}" for reason, count in ordered)


def _entries(folder: Path) -> "list[os.DirEntry[str]]":
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is_litter(entry: "os.DirEntry[str]") -> bool:
    return entry.name.startswith(".") or (entry.name.lower() in LITTER and entry.is_dir())


def _why_not(entry: "os.DirEntry[str]") -> str | None:
    """Returns why an entry is ignored; None for a photograph or a folder that may hold some."""
    if _is_litter(entry):
        return "hidden" if entry.name.startswith(".") else "thumbnail or system folder"
    if entry.is_dir():
        return "linked folder" if entry.is_symlink() else None
    stem, _, end = entry.name.rpartition(".")  # Path.suffix takes five times as long
    extension = f".{end.lower()}" if stem and end else ""
    if extension in EXTENSIONS:
        return None
    if extension in _HEIC:
        return f"{extension} (`pip install pillow-heif` to read them)"
    if extension == ".avif":
        return ".avif (Pillow 11.3 or newer reads them)"
    return shown_name(as_text(extension)) if extension else "without extension"
