"""Places: files and folders on a disk or in an object store, under one interface.

Object stores have no append and no rename, so nothing here needs either: a file is written whole
or not at all, and then only read or removed. On a disk no link is followed that leads out of a
place's root, since others may be able to write to a shared folder.
"""

import errno
import io
import re
import stat
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs
from tenacity import Retrying, retry_if_exception, stop_after_delay
from tenacity.wait import wait_random_exponential

from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.storage.disk import files_below, remove, replacing

PATIENCE = 600.0
"""Seconds for which a storage may fail before whatever needs it fails."""

LONGEST_PAUSE = 15.0
"""Seconds between one try and the next, at most."""

SECRET = re.compile(r"(key|secret|token|password|sig)[^=&]*=", re.IGNORECASE)
"""Names of keys in the query of an address."""

PERMANENT = (
    "ACCESS_DENIED",
    "INVALID_ACCESS_KEY_ID",
    "NO_SUCH_BUCKET",
    "SIGNATURE_DOES_NOT_MATCH",
    "NoSuchBucket",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
)
"""In the errors of object stores that no retry mends. Pyarrow passes on the text alone."""

TRANSIENT = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN)
"""Errors of a network disk while its server is away."""

T = TypeVar("T")


class StorageError(RunFailedError):
    """A storage refused, or failed for longer than PATIENCE."""


@dataclass(frozen=True)
class Place:
    """A file or a folder. Pickles as its address; credentials come from the node's environment."""

    root: str
    """An absolute path, or an address that pyarrow reads: `s3://bucket/prefix`, `gs://...`."""
    name: str = ""
    """The path below the root, its parts joined by `/`."""

    @classmethod
    def at(cls, address: str | Path) -> "Place":
        """Returns the place of an address or a path. Raises UserError for a faulty address."""
        if is_address(str(address)):
            _open(str(address))
            return cls(str(address))
        return cls(str(Path(address).expanduser().resolve()))

    def __truediv__(self, name: str) -> "Place":
        """Raises UserError where the name, perhaps chosen by others, leads out of this place."""
        if name.startswith("/") or ".." in name.split("/"):
            raise UserError(f"{self}: {name} leads out of it")
        return Place(self.root, f"{self.name}/{name}" if self.name else name)

    def __str__(self) -> str:
        """Returns it as people read it, without the options that may follow a `?`."""
        root = self.root.partition("?")[0].rstrip("/")
        return f"{root}/{self.name}" if self.name else root

    @property
    def address(self) -> str:
        """The text from which `at` makes this place again, on any node."""
        base, mark, options = self.root.partition("?")
        base = f"{base.rstrip('/')}/{self.name}" if self.name else base
        return f"{base}{mark}{options}"

    @property
    def last_name(self) -> str:
        """The name of the file or folder itself."""
        return str(self).rpartition("/")[2]

    @property
    def is_local(self) -> bool:
        """Whether it is a path, on this node's disk or on one that is mounted here."""
        return not is_address(self.root)

    def relative_to(self, folder: "Place") -> str:
        """Returns the path below `folder`, in which this place must lie."""
        assert self.root == folder.root
        return str(Path(self.name).relative_to(folder.name))

    def read(self) -> bytes:
        """Raises FileNotFoundError, and like every other method StorageError."""
        return _patiently(self, self._read)

    def glance(self) -> bytes | None:
        """Like `read`, but returns None at once if reading fails."""
        try:
            return self._read()
        except OSError:
            return None

    def write(self, content: bytes | memoryview) -> None:
        """Writes the whole content, or leaves what was there. Raises OSError on a full disk."""
        self.write_by(lambda file: file.write(content))

    def write_by(self, fill: Callable[[Any], object]) -> None:
        """Like `write`, of what `fill` writes to an open file; it does so again after a failure.

        On a disk, no second copy of it is made in memory.
        """
        _patiently(self, lambda: self._write_by(fill))

    def copy_to(self, target: "Place") -> None:
        """Copies the file to another name below the same root, as `write` would."""
        if self.is_local:
            target.write(self.read())
        else:  # an object store copies it itself
            _patiently(self, lambda: self._fs.copy_file(self._path, target._path))

    def leave(self, content: bytes) -> None:
        """Like `write`, but gives up at once if writing fails."""
        with suppress(OSError):
            self._write(content)

    def exists(self) -> bool:
        return bool(_patiently(self, lambda: self._info().type != pa.fs.FileType.NotFound))

    def is_whole_zip(self) -> bool:
        """Returns whether a file is there and whole.

        A power failure may leave a file on a disk with its name and length but without its content.
        """
        if not self.is_local:
            return self.exists()
        try:
            with Path(self._path).open("rb") as file:
                check_zip(file)
        except Exception:  # whatever a reader of archives meets in damaged bytes
            return False
        return True

    def names(self) -> list[str]:
        """Returns the paths of all files below this folder, in order; none if it does not exist."""
        return _patiently(self, self._names)

    def remove(self) -> None:
        """Removes the file, or the folder with all that is in it, if there is one."""
        _patiently(self, self._remove)

    def _read(self) -> bytes:
        with self._fs.open_input_stream(self._path) as stream:
            content: bytes = stream.read()
        return content

    def _write(self, content: bytes | memoryview) -> None:
        self._write_by(lambda file: file.write(content))

    def _write_by(self, fill: Callable[[Any], object]) -> None:
        if not self.is_local:
            content = io.BytesIO()
            fill(content)
            with self._fs.open_output_stream(self._path) as stream:
                stream.write(content.getbuffer())
            return
        path = self._inside(follow=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, partial.open("wb") as file:
            fill(file)

    def _info(self) -> Any:
        return self._fs.get_file_info(self._path)

    def _names(self) -> list[str]:
        if self.is_local:
            folder = self._inside()
            return sorted(
                file.relative_to(folder).as_posix()
                for file, status in files_below(folder)
                if stat.S_ISREG(status.st_mode)
            )
        everything = pa.fs.FileSelector(self._path, allow_not_found=True, recursive=True)
        return sorted(
            str(Path(info.path).relative_to(self._path))
            for info in self._fs.get_file_info(everything)
            if info.type == pa.fs.FileType.File
        )

    def _remove(self) -> None:
        if self.is_local:
            remove(self._inside(follow=False))
            return
        kind = self._info().type
        if kind == pa.fs.FileType.Directory:
            self._fs.delete_dir(self._path)
        elif kind != pa.fs.FileType.NotFound:
            self._fs.delete_file(self._path)

    @property
    def _fs(self) -> Any:
        return _open(self.root)[0]

    @property
    def _path(self) -> str:
        if self.is_local:
            return str(self._inside())
        base = _open(self.root)[1].rstrip("/")
        return f"{base}/{self.name}" if self.name else base

    def _inside(self, *, follow: bool = True) -> Path:
        """Returns the path on a disk. Raises UserError where a link leads out of the root.

        `follow`: whether the file or folder itself is followed if it is a link. It is not where it
        is removed or replaced: then the link goes, wherever it leads.
        """
        root, path = Path(self.root), Path(self.root, self.name)
        reached = path if follow else path.parent
        if self.name and not reached.resolve().is_relative_to(root.resolve()):
            raise UserError(f"{self}: a link there leads out of {root}, and is not followed")
        return path


def is_address(text: str) -> bool:
    """Returns whether it names a place in an object store, not a path."""
    return "://" in text


def check_zip(file: BinaryIO) -> None:
    """Raises where a zip of stored parts, as torch writes it, is damaged."""
    with zipfile.ZipFile(file) as archive:
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
            raise zipfile.BadZipFile("its parts are compressed")
        if (name := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"its part {name} has another checksum")


def checked_storage(address: str) -> Place:
    """Returns a place that this process can write to. Raises UserError where it cannot."""
    place = Place.at(address)
    probe = place / ".inat_ray"
    try:  # not patiently: a typing error should be told at once, not after ten minutes
        probe._write(b"")
        probe._remove()
    except OSError as error:
        raise UserError(
            f"resources.storage_path: {place}: cannot be written to: {_sentence(error)}"
        ) from None
    return place


@lru_cache(maxsize=64)
def _open(root: str) -> tuple[Any, str]:
    """Returns the file system, whose client is made once in a process, and the path in it."""
    if not is_address(root):
        return pa.fs.LocalFileSystem(), root
    parts = urlsplit(root)
    if "@" in parts.netloc or SECRET.search(parts.query):
        raise UserError(
            "resources.storage_path: holds a key; credentials belong into the environment"
            " (AWS_ACCESS_KEY_ID, ...) or the machine's role, where no file and no log has them"
        )
    try:
        opened: tuple[Any, str] = pa.fs.FileSystem.from_uri(root)
        if not opened[1]:
            raise pa.ArrowInvalid("it names no bucket")
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(
            f"resources.storage_path: {root}: cannot be used: {error}; a path that all nodes"
            " share, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX is allowed"
        ) from None
    return opened


def _patiently(place: Place, work: Callable[[], T]) -> T:
    """Returns the result of `work`, which is tried again while the storage is away for a moment."""
    retrying = Retrying(
        retry=retry_if_exception(_may_pass),
        wait=wait_random_exponential(max=LONGEST_PAUSE),
        stop=stop_after_delay(PATIENCE),
        reraise=True,
    )
    try:
        return retrying(work)
    except OSError as error:
        if error.errno is not None and error.errno not in TRANSIENT:
            raise  # a disk's own error: full, missing, not allowed
        raise StorageError(f"{place}: {_sentence(error)}") from error


def _may_pass(error: BaseException) -> bool:
    """Returns whether trying again may succeed."""
    if not isinstance(error, OSError):
        return False
    if error.errno is not None:
        return error.errno in TRANSIENT
    return not any(sign in str(error) for sign in PERMANENT)


def _sentence(error: BaseException) -> str:
    """Returns an error in one line, without the request's number."""
    return str(error).partition(" (Request ID")[0].partition("; Details")[0]
