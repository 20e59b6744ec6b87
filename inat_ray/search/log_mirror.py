"""A run log in its storage: small segments that never change, written by one process.

Object stores cannot append, so each segment is an object of its own. It holds the records that came
in while the one before it was on its way, and its name says which: `000000012-000000034.jsonl` has
the 13th to the 34th. A reader needs no more than the names to know that none is missing.
"""

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.storage.place import Place

SEGMENTS = "log/segments"
"""The folder of the segments, in that of the run."""

WRITER = "log/writer"
"""Holds the mark of the process that writes; one that finds another's mark has been replaced."""

SECONDS_A_SEGMENT = 0.5
"""At least, so that a day of short trials leaves thousands of objects and no million."""

SECONDS_BETWEEN_LOOKS = 5.0
"""How often the storage is asked for something while there is nothing to bring: trials that wait
for it to take their checkpoints make no records, and the user would hear nothing."""

MOST_SEGMENTS = 1000
"""More than that are made one, which a run that is resumed reads in one go."""

SLOW = 10.0
"""Seconds without an answer of the storage after which the user is told."""

_NAME = re.compile(r"(\d{9,})-(\d{9,})\.jsonl")


@dataclass(frozen=True, order=True)
class Segment:
    """The records from number `start` (from 0) up to `end`, which is not in it."""

    start: int
    end: int

    @property
    def name(self) -> str:
        return f"{SEGMENTS}/{self.start:09}-{self.end:09}.jsonl"


def segments_of(run: Place) -> list[Segment]:
    """The segments that together hold the log of a run, in order.

    One that was made of others stands for them. Raises UserError where one is missing.
    """
    found = [_NAME.fullmatch(name) for name in (run / SEGMENTS).names()]
    segments = [Segment(int(match[1]), int(match[2])) for match in found if match]
    chosen: list[Segment] = []
    for segment in sorted(segments, key=lambda s: (s.start, -s.end)):
        reached = chosen[-1].end if chosen else 0
        if segment.end <= reached:
            continue
        if segment.start != reached:
            raise UserError(f"{run}: records {reached} to {segment.start} of its log are missing")
        chosen.append(segment)
    return chosen


def read_lines(run: Place) -> Iterator[bytes]:
    """The lines of a run's log, each with its end, as they were appended."""
    for segment in segments_of(run):
        yield from (run / segment.name).read().splitlines(keepends=True)


class LogMirror:
    """Brings records to the storage as they come, on a thread of its own.

    State: `_waiting`, the lines that are not safe yet; `written`, how many are; `_actions`, what is
    to be done once a number of them is; `_error`, why it came to an end.
    """

    def __init__(self, run: Place, lines: Sequence[bytes], *, tell: Callable[[str], None]) -> None:
        """Takes the log over from whichever process wrote it before.

        `lines`: the log as it stands on this machine's disk; what of it the storage lacks is
        brought there. Raises UserError where the storage holds more of it.
        """
        self._run, self._tell = run, tell
        self._mark = uuid4().hex.encode()
        with self._told_if_slow():
            (run / WRITER).write(self._mark)
            known = segments_of(run)
        self._segments, self.written = len(known), known[-1].end if known else 0
        if self.written > len(lines):
            raise UserError(
                f"{run}: holds {self.written} records, and the run's own folder {len(lines)}:"
                f" it was gone on with from another machine; --resume {run} goes on from there"
            )
        self._waiting = list(lines[self.written :])
        self._actions: deque[tuple[int, Callable[[], None]]] = deque()
        self._closing = False
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, daemon=True, name="log-mirror")
        self._thread.start()

    def add(self, line: bytes) -> None:
        """Raises RunFailedError where what came before could not be written."""
        self._check()
        with self._changed:
            self._waiting.append(line)
            self._changed.notify()

    def then(self, action: Callable[[], None]) -> None:
        """Does `action`, on the mirror's thread, once every record so far is safe."""
        with self._changed:
            self._actions.append((self.written + len(self._waiting), action))
            self._changed.notify()

    def close(self) -> None:
        """Returns once everything is safe. Raises RunFailedError where it cannot be made so."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise RunFailedError(
                f"the log cannot be brought to its storage: {self._error}; it is whole on this"
                " machine, and the run can be resumed from its folder"
            ) from self._error

    def _work(self) -> None:
        try:
            while self._wait():
                begun = time.monotonic()
                self._write()
                self._act()
                if not self._closing:
                    time.sleep(max(0.0, begun + SECONDS_A_SEGMENT - time.monotonic()))
        except Exception as error:  # whatever it is, `_check` raises it where somebody hears it
            self._error = error

    def _wait(self) -> bool:
        """Returns when there is something to do; False where nothing will be."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting or self._actions or self._closing,
                timeout=SECONDS_BETWEEN_LOOKS,
            )
            return bool(self._waiting or self._actions) or not self._closing

    def _write(self) -> None:
        """What waits, as one segment. That stays the same however often it is tried."""
        lines = self._waiting[:]
        with self._told_if_slow():
            self._check_mark()
            if not lines:
                return
            segment = Segment(self.written, self.written + len(lines))
            (self._run / segment.name).write(b"".join(lines))
            self._segments += 1
            if self._segments > MOST_SEGMENTS:
                self._make_one()
        with self._changed:
            del self._waiting[: len(lines)]
            self.written = segment.end

    def _act(self) -> None:
        while self._actions and self._actions[0][0] <= self.written:
            with self._told_if_slow():
                self._actions.popleft()[1]()

    def _check_mark(self) -> None:
        if (self._run / WRITER).read() != self._mark:
            raise RunFailedError(f"{self._run}: another process goes on with this run")

    def _make_one(self) -> None:
        """The whole log as one segment; a reader takes it for those that are still there."""
        old = segments_of(self._run)
        one = Segment(0, old[-1].end)
        (self._run / one.name).write(b"".join(read_lines(self._run)))
        for segment in old:
            (self._run / segment.name).remove()
        self._segments = 1

    @contextmanager
    def _told_if_slow(self) -> Iterator[None]:
        begun = time.monotonic()
        text = f"{self._run} does not answer; what happens meanwhile is kept on this machine"
        timer = threading.Timer(SLOW, self._tell, [text])
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
        if (seconds := time.monotonic() - begun) > SLOW:
            self._tell(f"{self._run} answers again, after {seconds:.0f} s")
