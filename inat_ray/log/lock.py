"""One process at a time works on a run, from before its folder changes until its report is written.

On a machine it holds a lock in the run's folder, which the system releases when the process dies.
An object store has no locks; there a file changes every few seconds while the process lives.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from inat_ray.config.errors import UserError
from inat_ray.storage.place import Place

LOCK = "lock"
"""Held by the process that writes, in the run's folder `log`."""

ALIVE = "log/alive"
"""The file that changes, in the run's place in its storage."""

SECONDS_A_BEAT = 5.0

SECONDS_WITHOUT_BEAT = 15.0
"""After them nobody is at work on a run in a storage. A beat or two may be late or lost."""

MOMENT = 0.2
"""Seconds for which the lock is waited for: a listing of runs that asks for it has it for less."""


def locked(log: Path) -> FileLock:
    """Takes and returns the lock of the run whose log lies in `log`.

    Raises UserError where another process has it, or where it cannot be made.
    """
    lock = FileLock(log / LOCK)
    try:
        log.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=MOMENT, poll_interval=0.02)
    except Timeout:
        raise UserError(f"{log.parent}: another process is at work on this run") from None
    except OSError as error:
        raise UserError(
            f"{log.parent}: cannot be written to: {error.strerror}; choose another folder"
        ) from None
    return lock


def is_being_written(log: Path) -> bool:
    """Returns whether a process holds the lock of the log in folder `log`.

    True, too, where that cannot be asked: another user's run may be at work.
    """
    lock = log / LOCK
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except (Timeout, OSError):
        return True


@contextmanager
def alive_in(storage: Place | None) -> Iterator[None]:
    """Shows others, in the run's storage if it has one, that a process is at work on it."""
    if storage is None:
        yield
        return
    over = threading.Event()
    beats = threading.Thread(target=_beat, args=(storage / ALIVE, over), daemon=True, name="alive")
    beats.start()
    try:
        yield
    finally:
        over.set()
        beats.join()


def _beat(file: Place, over: threading.Event) -> None:
    me = uuid4().hex
    for number in count():
        # A beat that is lost while the storage is away does not matter: another follows.
        file.leave(f"{me} {number}".encode())
        if over.wait(SECONDS_A_BEAT):
            break
    if (file.glance() or b"").startswith(me.encode()):  # another process may have taken over
        with suppress(OSError):
            file.remove()


def check_nobody_below(folder: Path, *, option: str) -> None:
    """Raises UserError where a process is at work on a run that lies below `folder`."""
    for lock in folder.rglob(f"*/log/{LOCK}"):
        if is_being_written(lock.parent):
            raise UserError(f"{option}: another process is at work on {lock.parent.parent} in it")


def check_nobody_in(place: Place, *, option: str) -> None:
    """Raises UserError where a process is at work on a run at this place of a storage or below.

    Takes SECONDS_WITHOUT_BEAT where a process died there and left its file, else no time.
    """
    files = [place / name for name in place.names() if f"/{name}".endswith(f"/{ALIVE}")]
    if _changes(files):
        raise UserError(f"{option}: {place}: another process is at work on this run")


def is_alive_in(place: Place) -> bool:
    """Returns whether a process is at work on the run at this place of a storage.

    Takes SECONDS_WITHOUT_BEAT where a process died there and left its file, else a beat at most.
    """
    file = place / ALIVE
    return file.exists() and _changes([file])


def _changes(files: Sequence[Place]) -> bool:
    """Returns whether one of the files changes within SECONDS_WITHOUT_BEAT."""
    before = {file: file.glance() for file in files}
    patience = time.monotonic() + SECONDS_WITHOUT_BEAT
    while files and time.monotonic() < patience:
        time.sleep(SECONDS_A_BEAT / 10)
        if any(file.glance() not in (before[file], None) for file in files):
            return True
    return False
