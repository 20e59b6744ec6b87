"""Files and folders on a disk of this machine, none of them reached through a link."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

PARTIAL = ".partial"
"""How the names of files end that are not whole yet."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to, which takes the place of `path` when the context ends well.

    So `path` is whole or what it was. Nobody can have put a link under a name that nobody knows.
    """
    partial = path.with_name(f".{uuid4().hex}{PARTIAL}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """A file, a folder with all that is in it, or a link but not what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def files_below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every file at any depth, links as themselves; what vanishes meanwhile is passed over."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            try:
                status = path.lstat()
            except OSError:
                continue
            if not stat.S_ISDIR(status.st_mode):
                yield path, status
