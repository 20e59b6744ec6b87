"""The pack: every image decoded once per node, as squares of uint8 in one memory-mapped file.

Every process maps the file and sees the images as one array without copying; trials share it
through the page cache. A pack never changes: other images, or the same ones at another size, have
another name, and so another file.

The stored squares have `DataConfig.pack_side` pixels, 1.25 x image_size unless it is set:
evaluation sees the whole square scaled to image_size, random crops are cut from it.
"""

import hashlib
import os
import platform
import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data import inaturalist
from inat_ray.data.item import Role
from inat_ray.data.pack_build import Quarantined, build_pack, check_quarantined
from inat_ray.data.pack_file import SUFFIX, DamagedPackError, read_pack, remove_left_overs
from inat_ray.data.sources import Source, open_source
from inat_ray.data.walk import PassedOver
from inat_ray.storage.disk import replacing

LOCK = "build.lock"

FORMAT = "4"
"""Part of a pack's name: one of another format is never opened, but its images packed again."""

Supply = Callable[[Path], None]
"""Brings a pack that another node has built to a path here. Raises NoRoomError."""


class NoRoomError(UserError):
    """A node's disk has no room for the pack."""


@dataclass(frozen=True)
class Pack:
    """The decoded images of a source; n of them, each S x S."""

    path: Path
    images: NDArray[np.uint8]
    """(n, S, S, 3), RGB, read-only, mapped from the file."""
    labels: NDArray[np.int64]
    """(n,), indices into `classes`."""
    names: list[str]
    roles: list[str]
    """The use that the layout has for each image: train, validation, test or ""."""
    digests: list[str]
    """Equal exactly if the files are."""
    channel_sums: NDArray[np.float64]
    """(n, 3), of pixel values in 0..1."""
    channel_square_sums: NDArray[np.float64]
    """(n, 3), of squared pixel values."""
    classes: list[str]
    quarantined: list[Quarantined]
    parts: Mapping[Role, str] = field(default_factory=dict)
    """Role -> the folder that its images come from; empty unless the source was opened too."""
    passed_over: PassedOver = field(default_factory=Counter)
    """The other files in the source's folders, likewise."""
    rebuilt: str | None = None
    """Why an earlier pack could not be used, if this one was built in its place."""

    @classmethod
    def open(cls, path: Path) -> "Pack":
        """Maps a pack that exists: takes milliseconds at any size, unless it was copied here.

        Raises DamagedPackError if it is not what was built under that name.
        """
        about, facts, images = read_pack(path)
        return cls(
            path=path,
            images=images,
            labels=facts["label"].astype(np.int64),
            names=about["names"],
            roles=about["roles"],
            digests=facts["digest"].astype(str).tolist(),
            channel_sums=facts["channel_sums"],
            channel_square_sums=facts["channel_square_sums"],
            classes=about["classes"],
            quarantined=[Quarantined(**image) for image in about["quarantined"]],
        )


def open_pack(config: DataConfig, *, progress: bool = False, build: bool = True) -> Pack:
    """Opens the pack of `config`; builds it first if the node has none, or a damaged one.

    Without `build` nothing is downloaded, and nothing decoded unless the pack is damaged. Raises
    UserError if the source, its images or the cache folder are not usable, or if the pack
    is missing and `build` is false.
    """
    source = open_source(config) if build else _source_here(config)
    path = pack_folder(config) / _name(source, config)
    if not build and not path.exists():
        raise UserError(
            f"data.cache: {config.cache}: holds no pack of {config.source} as it is now;"
            f" --data {shlex.quote(config.source)} has it built"
        )

    def make(partial: Path) -> None:
        build_pack(source, config=config, path=partial, identity=path.stem, progress=progress)

    pack = _pack_at(path, make, config=config)
    # Again, for a pack that was built under a larger limit, which is no part of its name.
    check_quarantined(pack.quarantined, good=len(pack.names), config=config)
    return replace(pack, parts=source.parts, passed_over=source.passed_over)


def reopen_pack(config: DataConfig, name: str, supply: Supply | None = None) -> Pack:
    """Opens the pack that another process has opened as file `name`, perhaps on another node.

    A node without it, or with a damaged one, gets it by `supply`, or else builds it. Raises
    UserError if this node has neither the pack, nor room for it, nor the images of it.
    """
    path = pack_folder(config) / name
    if supply is not None:
        return _pack_at(path, lambda partial: _receive(supply, partial), config=config)
    if isinstance(pack := _whole(path), Pack):
        return pack
    pack = open_pack(config)
    if pack.path.name != name:
        raise UserError(
            f"data.source: {config.source}: holds other images on node {platform.node()} than on"
            " the one that the run was started on"
        )
    return pack


def _pack_at(path: Path, make: Callable[[Path], None], *, config: DataConfig) -> Pack:
    """Opens the pack at `path`; makes it first if it is missing or damaged.

    When a sweep starts, all its processes on a node want the same pack. Whichever takes the lock
    first decodes, and the others wait and map its file: they look before the lock, so that opening
    a pack that is whole waits for nobody, and once more behind it. Nothing tells who decodes but
    the lock, which the system frees when its holder is killed; the next one then starts anew.

    The pack is written under a temporary name and renamed. So a file under the final name is whole,
    and a process that has mapped a damaged one keeps its pages.
    """
    pack = _whole(path)
    if not isinstance(pack, Pack):
        _make_folder(path.parent, config)
        # One lock for all packs: a build takes every core, and whoever holds the lock knows that
        # nobody writes to any temporary file in the folder, so all of them are left over.
        with FileLock(path.parent / LOCK):
            pack = _whole(path)
            if not isinstance(pack, Pack):
                remove_left_overs(path.parent)
                with replacing(path) as partial:
                    make(partial)
                pack = replace(Pack.open(path), rebuilt=pack)
    return pack


def _whole(path: Path) -> "Pack | str | None":
    """Opens the pack, or returns why it has to be built again; None if there is none."""
    try:
        return Pack.open(path) if path.exists() else None
    except DamagedPackError as error:
        return str(error)


def _receive(supply: Supply, partial: Path) -> None:
    try:
        supply(partial)
    except OSError as error:
        raise NoRoomError(f"data.cache: {partial.parent}: {error.strerror}") from None


def pack_folder(config: DataConfig) -> Path:
    """Returns the folder of this node's packs."""
    return Path(config.cache).expanduser() / "packs"


def pack_name(config: DataConfig) -> str:
    """Returns the file name of the pack of the images as they are now; builds nothing.

    Raises UserError if the images are not here.
    """
    return _name(_source_here(config), config)


def _source_here(config: DataConfig) -> Source:
    """Opens the source without downloading it."""
    if config.source == inaturalist.NAME and not inaturalist.is_fetched(config):
        raise UserError(
            f"data.source: {config.source}: is not downloaded; --data {config.source} downloads it"
        )
    return open_source(config)


def _name(source: Source, config: DataConfig) -> str:
    """Names the pack by all that its pixels depend on: format, size, fit, and the source.

    The source is told by the sizes and times of its files, not by their bytes: every command that
    opens the data asks for this name, and must not read all photographs for it.
    """
    digest = hashlib.sha256(f"{FORMAT} {config.pack_side} {config.fit}\n".encode())
    for line in (*source.classes, *source.identity()):
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()[:24] + SUFFIX


def _make_folder(folder: Path, config: DataConfig) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"data.cache: {config.cache}: cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"data.cache: {config.cache}: cannot be written to; choose another folder")
