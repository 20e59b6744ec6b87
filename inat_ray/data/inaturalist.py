"""Downloads iNaturalist-12K: resumes where it broke off, checks the archive, and unpacks it."""

import errno
import shutil
import stat
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

import requests
from filelock import FileLock

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data.progress import BYTES, advancing, tracked
from inat_ray.storage.disk import remove

ARCHIVE_BYTES = 3_816_687_935
"""Size of nature_12K.zip, from every mirror."""

NAME = "inaturalist-12k"
"""Name of the source, and of its folder in the cache."""

IMAGES = "images"
"""The folder in that one that holds the unpacked archive."""

CHUNK = 1 << 15
"""Bytes read at once; a chunk that is not whole when the connection breaks is lost."""

ENCRYPTED = 1
"""Bit of a member's flags in a zip."""

OF_A_NAME = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EINVAL)
"""Errors of a file name that a disk cannot have; all others are not the archive's fault."""

TIMEOUT = 60.0
"""Seconds without a byte until a download counts as broken."""


def is_fetched(config: DataConfig) -> bool:
    """Whether the archive was downloaded and unpacked."""
    return (_folder(config) / IMAGES).exists()


def fetch_inaturalist(config: DataConfig, *, size: int = ARCHIVE_BYTES) -> Path:
    """Returns the folder of the unpacked archive, which the first call downloads.

    Raises UserError if the disk is too small, the address does not answer, or what it sends
    is not the archive; calling again resumes a download that broke off.
    """
    folder = _folder(config)
    images = folder / IMAGES
    if not images.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            if not images.exists():  # another process may have fetched it meanwhile
                archive = folder / "archive.zip"
                _download(config.inaturalist_url, archive, size=size)
                _unpack(archive, images)
    return images


def _folder(config: DataConfig) -> Path:
    return Path(config.cache).expanduser() / NAME


def _download(url: str, archive: Path, *, size: int) -> None:
    """Appends to what is there until the archive has its size.

    A connection that breaks is opened again for as long as bytes keep coming.
    """
    if (have := _size(archive)) < size:
        _check_free_space(archive.parent, needed=2 * size - have, what="archive and images")
    while (have := _size(archive)) < size:
        problem = "the transfer ended early"
        try:
            _append_rest(url, archive, have=have, size=size)
        except requests.RequestException as error:
            problem = str(error)
        if (kept := _size(archive)) <= have:
            raise UserError(
                f"data.inaturalist_url: {url}: {problem}; {kept:,} of {size:,} bytes are kept"
                " and the next call resumes from there"
            )


def _append_rest(url: str, archive: Path, *, have: int, size: int) -> None:
    # No compression: a range of compressed bytes would not continue the bytes that are here.
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        start = have if resumed else 0
        _check_announced_size(response, start=start, size=size)
        with (
            archive.open("ab" if resumed else "wb") as file,
            advancing("fetching nature_12K.zip", total=size, unit=BYTES, done=start) as advance,
        ):
            for chunk in response.iter_content(CHUNK):
                file.write(chunk[: size - file.tell()])
                advance(len(chunk))


def _check_announced_size(response: requests.Response, *, start: int, size: int) -> None:
    """Raises UserError before a byte is kept: an error page would spoil what is already here."""
    announced = start + int(response.headers.get("Content-Length", size - start))
    if announced != size:
        raise UserError(
            f"data.inaturalist_url: {response.url}: has {announced:,} bytes, but the archive"
            f" nature_12K.zip has {size:,}; an address of that file is needed"
        )


def _unpack(archive: Path, images: Path) -> None:
    """Unpacks beside the final place and renames, so that `images` is whole or absent.

    Deletes an archive that cannot be used, so that the next call fetches a better one.
    """
    scratch = images.with_suffix(".unpacking")
    remove(scratch)  # left by a call that was killed
    try:
        with zipfile.ZipFile(archive) as contents:
            members = contents.infolist()
            _check_members(members)
            unpacked = sum(member.file_size for member in members)
            _check_free_space(archive.parent, needed=unpacked, what="the unpacked images")
            for member in tracked(members, "unpacking", total=len(members), unit="files"):
                contents.extract(member, scratch)
    except UserError:
        raise
    except Exception as error:  # a reader of damaged archives raises errors of many kinds
        if isinstance(error, OSError) and error.errno not in OF_A_NAME:
            raise
        archive.unlink()
        raise UserError(
            f"data.inaturalist_url: what came from there is not the archive: {error};"
            " it was deleted, choose another address or call again"
        ) from None
    scratch.rename(images)
    archive.unlink()


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    """Raises BadZipFile if a member could not be a file in the archive's own folder."""
    names = [PurePosixPath(m.filename) for m in members if not m.is_dir()]
    if not names:
        raise zipfile.BadZipFile("it contains no file")
    folders = {folder for name in names for folder in name.parents}
    if twice := [name for name, n in Counter(names).items() if n > 1 or name in folders]:
        raise zipfile.BadZipFile(f"its member {str(twice[0])!r} is in it more than once")
    for member in members:
        if member.flag_bits & ENCRYPTED:
            raise zipfile.BadZipFile(f"its member {member.filename!r} is encrypted")
        path = PurePosixPath(member.filename.replace("\\", "/"))
        is_link = stat.S_ISLNK(member.external_attr >> 16)
        if is_link or path.is_absolute() or ".." in path.parts or ":" in member.filename:
            raise zipfile.BadZipFile(f"its member {member.filename!r} leads outside of it")


def _check_free_space(folder: Path, *, needed: int, what: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"data.cache: {folder}: has {free / 1e9:.1f} GB free, {what} need"
            f" {needed / 1e9:.1f} GB; free some, or choose another data.cache"
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
