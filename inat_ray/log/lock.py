"""Who is at work on a run: one process, from before its folder changes until its report is written.

On this machine that is a lock in the run's folder, let go by the system when the process dies. A
storage has no locks; there a file changes every few seconds for as long as the process lives.
"""

import threading
import time
from collections.abc import Iterator
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
"""The file that changes, in a run's place in the storage."""

SECONDS_A_BEAT = 5.0

SECONDS_WITHOUT_BEAT = 15.0
"""After which nobody is at work on a run in a storage."""

MOMENT = 0.2
"""Seconds for which the lock is asked for: a listing of runs takes it for no longer."""


def locked(log: Path) -> FileLock:
    """The lock of the run whose log lies in `log`, taken.

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
    """Whether a process has the log in folder `log` open: asks for its lock, and lets go at once.

    Where the lock cannot be asked for (another user's run), somebody may.
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
    """Lets others see in the run's storage, if it has one, that a process is at work on it."""
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
        # A beat that is lost while the storage is away is made up for by the next.
        file.leave(f"{me} {number}".encode())
        if over.wait(SECONDS_A_BEAT):
            break
    if (file.glance() or b"").startswith(me.encode()):  # and not of a process that has followed
        with suppress(OSError):
            file.remove()


def check_nobody_below(folder: Path, *, option: str) -> None:
    """Raises UserError where a process is at work on a run that lies below `folder`."""
    for lock in folder.rglob(f"*/log/{LOCK}"):
        if is_being_written(lock.parent):
            raise UserError(f"{option}: another process is at work on {lock.parent.parent} in it")


def check_nobody_in(place: Place, *, option: str) -> None:
    """Raises UserError where a process is at work on a run at this place of a storage or below.

    Returns after SECONDS_WITHOUT_BEAT where one has died there, else at once.
    """
    files = [place / name for name in place.names() if f"/{name}".endswith(f"/{ALIVE}")]
    before = {file: file.glance() for file in files}
    patience = time.monotonic() + SECONDS_WITHOUT_BEAT
    while files and time.monotonic() < patience:
        time.sleep(SECONDS_A_BEAT / 10)
        for file in files:
            if file.glance() not in (before[file], None):
                raise UserError(f"{option}: {place}: another process is at work on this run")
