"""iNaturalist-12K by download: resumed where it broke off, checked, unpacked with care."""

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

import requests
from filelock import FileLock
from rich.console import Console
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig

ARCHIVE_BYTES = 3_816_687_935
"""Size of nature_12K.zip, whatever mirror it comes from."""

CHUNK = 1 << 20
TIMEOUT = 60.0
"""Seconds without a byte after which a download is taken for broken."""


def fetch_inaturalist(config: DataConfig, *, size: int = ARCHIVE_BYTES) -> Path:
    """The folder that holds `train/` and `val/`, downloaded and unpacked at the first call.

    Raises UserError where the disk is too small, the address does not answer, or what
    comes from it is not the archive; calling again resumes a download that broke off.
    """
    folder = Path(config.cache).expanduser() / "inaturalist-12k"
    images = folder / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not images.exists():
            archive = folder / "archive.zip"
            _check_free_space(folder, needed=2 * size + size // 10)
            _download(config.inaturalist_url, archive, size=size)
            _unpack(archive, images)
            archive.unlink()
    return images


def _check_free_space(folder: Path, *, needed: int) -> None:
    have = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    free = shutil.disk_usage(folder).free
    if free + have < needed:
        raise UserError(
            f"data.cache: {folder}: has {free / 1e9:.1f} GB free, archive and images need"
            f" {needed / 1e9:.1f} GB; choose another data.cache"
        )


def _download(url: str, archive: Path, *, size: int) -> None:
    """Appends to what is there until the archive has its size."""
    have = archive.stat().st_size if archive.exists() else 0
    if have < size:
        try:
            _append_rest(url, archive, have=have, size=size)
        except requests.RequestException as error:
            kept = archive.stat().st_size if archive.exists() else 0
            raise UserError(
                f"data.inaturalist_url: {url}: {error}; {kept:,} of {size:,} bytes are kept"
                " and the next call goes on from there"
            ) from None
    arrived = archive.stat().st_size
    if arrived != size:
        if arrived > size:
            archive.unlink()
        raise UserError(
            f"data.inaturalist_url: {url}: gave {arrived:,} bytes, the archive has {size:,}"
        )


def _append_rest(url: str, archive: Path, *, have: int, size: int) -> None:
    headers = {"Range": f"bytes={have}-"} if have else {}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        console = Console(stderr=True)
        columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
        with (
            archive.open("ab" if resumed else "wb") as file,
            Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        ):
            task = progress.add_task("nature_12K.zip", total=size, completed=have * resumed)
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                progress.advance(task, len(chunk))


def _unpack(archive: Path, images: Path) -> None:
    """Unpacks beside the final place and renames, so that `images` is whole or absent."""
    scratch = images.with_suffix(".unpacking")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as contents:
            for member in contents.infolist():
                _check_member(member)
            contents.extractall(scratch)
    except zipfile.BadZipFile as error:
        archive.unlink()
        raise UserError(
            f"data.inaturalist_url: what was downloaded is no archive: {error}"
        ) from None
    scratch.rename(images)


def _check_member(member: zipfile.ZipInfo) -> None:
    """Refuses what would be written outside the folder, or is a link that could lead there."""
    path = PurePosixPath(member.filename.replace("\\\\", "/"))
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or is_link or ":" in path.parts[0]:
        raise UserError(
            f"data.inaturalist_url: the archive has a member that leads outside:"
            f" {member.filename!r}; it was not unpacked"
        )
