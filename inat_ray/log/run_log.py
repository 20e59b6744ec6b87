"""The run log: an append-only record of what happened, in the run's folder `log`.

Leaderboard, TensorBoard, tables, searchers and schedulers are functions of this log. One process
(the driver) writes it. A record is one JSON line; a line that a crash tore is dropped (lines.py),
and a later record of the same trial and epoch replaces the earlier one. A run with a storage has
its log there, too (mirror.py).
"""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from inat_ray.config.errors import RunFailedError, readable
from inat_ray.log.history import History
from inat_ray.log.lines import is_cut_off, parsed
from inat_ray.log.lock import locked
from inat_ray.log.mirror import LogMirror, read_lines
from inat_ray.log.records import AnyRecord
from inat_ray.storage.place import Place

EVENTS = "events.jsonl"
"""The log's file, in the run's folder `log`."""

Observer = Callable[[AnyRecord], None]
"""Is told of each record once it is on disk: the live table, TensorBoard."""


class RunLog:
    """The writer of a run's log: one process has it open, and its history is always current.

    Every record is on disk before an observer hears of it. Raises UserError where another process
    has the log open, or where it is of a newer version.
    """

    def __init__(
        self,
        folder: Path,
        *,
        storage: Place | None = None,
        tell: Callable[[str], None] = print,
        is_claimed: bool = False,
    ) -> None:
        """`storage` is that of the run, where its log is kept, too; `tell` says when it is away.

        `is_claimed`: whether this process holds the run's lock already.
        """
        self.path = folder / EVENTS
        self.history = History()
        self._observers: list[Observer] = []
        self._lock = None if is_claimed else locked(folder)
        try:
            found = _lines(self.path) if self.path.exists() else []
            known = parsed(found, source=str(self.path), history=self.history)
            lines = [line for line, _ in known]
            self._mirror = None if storage is None else LogMirror(storage, lines, tell=tell)
        except BaseException:
            self._release()
            raise
        self._file = self.path.open("ab", buffering=0)
        self._end_cleanly(found)

    def watch(self, observer: Observer) -> None:
        """Tells the observer of each record from here on."""
        self._observers.append(observer)

    def append(self, record: AnyRecord) -> None:
        """Raises RunFailedError where the disk takes no more; the records before are safe."""
        line = record.model_dump_json().encode() + b"\n"
        try:
            self._write(line)
        except OSError as error:
            raise RunFailedError(
                f"{self.path}: cannot be written: {error.strerror}; what was recorded is safe, and"
                " the run can be resumed once there is room"
            ) from error
        if self._mirror is not None:
            self._mirror.add(line)
        self.history.add(record)
        for observer in self._observers:
            observer(record)

    def then(self, action: Callable[[], None]) -> None:
        """Does `action` once every record so far is safe: on the disk, and in the storage."""
        if self._mirror is None:
            action()
        else:
            self._mirror.then(action)

    def close(self) -> None:
        """Raises RunFailedError where the storage did not take all."""
        self._file.close()
        try:
            if self._mirror is not None:
                self._mirror.close()
        finally:
            self._release()

    def _end_cleanly(self, lines: list[bytes]) -> None:
        """Removes what a crash left torn: once records follow, it would count as damage."""
        while lines and is_cut_off(lines[-1]):
            lines.pop()
        self._file.truncate(sum(map(len, lines)))
        if lines and not lines[-1].endswith(b"\n"):
            self._file.write(b"\n")

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def _write(self, line: bytes) -> None:
        if not _is_same_file(self.path, self._file.fileno()):
            raise RunFailedError(
                f"{self.path.parent.parent}: the run's folder was removed, renamed or replaced"
                " while this process was at work on it; what it does now could not be kept"
            )
        before = os.fstat(self._file.fileno()).st_size
        try:
            if self._file.write(line) != len(line):  # a disk that fills takes a part
                raise OSError(errno.ENOSPC, "no space left on device")
            os.fsync(self._file.fileno())
        # A signal, too: `append` does not hand the line to the mirror then, and the disk must not
        # hold a record that the storage lacks in the midst of others.
        except BaseException:
            self._file.truncate(before)
            raise

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_records(path: Path, *, history: History | None = None) -> Iterator[AnyRecord]:
    """Yields the records of a log in order, without a line that a crash tore.

    Each has been added to `history`, if one is given. Raises UserError where one is damaged or
    missing, or where a newer version wrote the log.
    """
    return (record for _, record in parsed(_lines(path), source=str(path), history=history))


def read_stored(run: Place) -> Iterator[tuple[bytes, AnyRecord]]:
    """Yields the lines of a log in a storage, and their records; none of them can be torn.

    Raises UserError as `read_records` does.
    """
    return parsed(read_lines(run), source=f"{run}: its log", may_be_torn=False)


def _lines(path: Path) -> list[bytes]:
    with readable(path, remedy="put back a copy of it if there is one"), path.open("rb") as file:
        return file.readlines()


def read_history(folder: Path) -> History:
    """Returns the history of the run whose log lies in `folder`. Raises as `read_records` does."""
    history = History()
    for _ in read_records(folder / EVENTS, history=history):
        pass
    return history


def _is_same_file(path: Path, descriptor: int) -> bool:
    """Returns whether the open file still has its name: a removed one takes writes, and is lost."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
