"""The pack: every image decoded once per node, as squares of uint8 in one memory-mapped file.

An Arrow IPC file of one record batch; the images are its fixed-size binary column, which a
process maps and sees as one array without copying. Trials share it through the page cache.

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
import pyarrow as pa
from filelock import FileLock
from numpy.typing import NDArray

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data import inaturalist
from inat_ray.data.item import Role
from inat_ray.data.pack_build import Number, Quarantined, build_pack, check_quarantined
from inat_ray.data.pack_seal import DamagedPackError, pixels_of, read_sealed
from inat_ray.data.sources import Source, open_source
from inat_ray.data.walk import PassedOver
from inat_ray.storage.disk import remove

LOCK = "build.lock"

FORMAT = "3"
"""Part of the fingerprint: packs of another format are built again."""


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
    """What the layout gave each image for: train, validation, test or nothing."""
    digests: list[str]
    """Equal exactly where the files are."""
    channel_sums: NDArray[np.float64]
    """(n, 3), of pixel values in 0..1."""
    channel_square_sums: NDArray[np.float64]
    """(n, 3), of squared pixel values."""
    classes: list[str]
    quarantined: list[Quarantined]
    parts: Mapping[Role, str] = field(default_factory=dict)
    """Role -> the folder that its images come from, where the source was looked at."""
    passed_over: PassedOver = field(default_factory=Counter)
    """What the source's folders hold besides, likewise."""
    rebuilt: str | None = None
    """Why a pack that was there could not be used and was built again."""

    @classmethod
    def open(cls, path: Path) -> "Pack":
        """Maps a pack that exists: milliseconds, whatever its size, unless it was copied here.

        Raises DamagedPackError where it is not what was built under that name.
        """
        about, batch = read_sealed(path)
        return cls(
            path=path,
            images=pixels_of(batch, side=about["side"]),
            labels=_numbers(batch.column("label"), np.int64),
            names=batch.column("name").to_pylist(),
            roles=batch.column("role").to_pylist(),
            digests=batch.column("digest").to_pylist(),
            channel_sums=_channels(batch.column("channel_sums")),
            channel_square_sums=_channels(batch.column("channel_square_sums")),
            classes=about["classes"],
            quarantined=[Quarantined(**image) for image in about["quarantined"]],
        )


def open_pack(config: DataConfig, *, progress: bool = False, build: bool = True) -> Pack:
    """The pack of `config`, built first where the node has none or a damaged one.

    Of several processes that want the same pack one builds it and the others wait. It is
    written under a temporary name and renamed, so a build that was killed leaves no pack.
    Without `build` nothing is downloaded or decoded.

    Raises UserError where the source, its images or the cache folder are not usable, or where the
    pack is missing and `build` is false.
    """
    source = open_source(config) if build else _source_here(config)
    path = pack_folder(config) / _name(source, config)
    if not build and not path.exists():
        raise _no_pack(config)
    pack = _whole(path)
    if not isinstance(pack, Pack):
        _make_folder(path.parent, config)
        # One lock for all packs: a build takes every core, and so knows what is left over.
        with FileLock(path.parent / LOCK):
            pack = _whole(path)
            if not isinstance(pack, Pack):
                build_pack(source, config=config, path=path, progress=progress)
                pack = replace(Pack.open(path), rebuilt=pack)
    check_quarantined(pack.quarantined, good=len(pack.names), config=config)
    return replace(pack, parts=source.parts, passed_over=source.passed_over)


def _whole(path: Path) -> "Pack | str | None":
    """The pack, or why it has to be built again; None where there is none."""
    try:
        return Pack.open(path) if path.exists() else None
    except DamagedPackError as error:
        return str(error)


def _no_pack(config: DataConfig) -> UserError:
    return UserError(
        f"data.cache: {config.cache}: holds no pack of {config.source} as it is now;"
        f" --data {shlex.quote(config.source)} has it built"
    )


def reopen_pack(config: DataConfig, name: str, supply: Supply | None = None) -> Pack:
    """The pack that another process has opened as file `name`, perhaps on another node.

    A node without it gets it by `supply`, else builds it; likewise where it is damaged. Of several
    processes one does, and the others wait. Raises UserError where this node has neither the pack,
    nor room for it, nor the images that it was made of.
    """
    path = pack_folder(config) / name
    pack = _whole(path)
    if not isinstance(pack, Pack) and supply is not None:
        _make_folder(path.parent, config)
        with FileLock(path.parent / LOCK):
            pack = _whole(path)
            if not isinstance(pack, Pack):
                _take_in(supply, path)
                pack = Pack.open(path)
    if isinstance(pack, Pack):
        return pack
    pack = open_pack(config)
    if pack.path.name != name:
        raise UserError(
            f"data.source: {config.source}: holds other images on node {platform.node()} than on"
            " the one that the run was started on"
        )
    return pack


def _take_in(supply: Supply, path: Path) -> None:
    """Under its name there is a whole pack or none."""
    partial = path.with_suffix(".partial")
    remove(partial)  # whatever was left there, also a link
    try:
        supply(partial)
        partial.replace(path)
    except OSError as error:
        raise NoRoomError(f"data.cache: {path.parent}: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)


def pack_folder(config: DataConfig) -> Path:
    """Of this node's packs."""
    return Path(config.cache).expanduser() / "packs"


def pack_name(config: DataConfig) -> str:
    """The file in `pack_folder` that a run on the images as they are now uses; builds nothing.

    Raises UserError where the images are not here.
    """
    return _name(_source_here(config), config)


def _source_here(config: DataConfig) -> Source:
    """The source, of which nothing is downloaded."""
    if config.source == inaturalist.NAME and not inaturalist.is_fetched(config):
        raise UserError(
            f"data.source: {config.source}: is not downloaded; --data {config.source} downloads it"
        )
    return open_source(config)


def _name(source: Source, config: DataConfig) -> str:
    return f"{_fingerprint(source, config)}.arrow"


def _fingerprint(source: Source, config: DataConfig) -> str:
    """Equal exactly where source, size and fit are."""
    digest = hashlib.sha256(f"{FORMAT} {config.pack_side} {config.fit}\n".encode())
    for line in (*source.classes, *source.identity()):
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()[:24]


def _make_folder(folder: Path, config: DataConfig) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"data.cache: {config.cache}: cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"data.cache: {config.cache}: cannot be written to; choose another folder")


def _numbers(column: pa.Array, dtype: type[Number]) -> NDArray[Number]:
    """The values of a column that is read whole, not copied."""
    return np.frombuffer(column.buffers()[-1], dtype=dtype)


def _channels(column: pa.FixedSizeListArray) -> NDArray[np.float64]:
    return _numbers(column, np.float64).reshape(-1, 3)
