"""A run log in its storage: small segments that never change, written by one process at a time.

Object stores cannot append, so each segment is an object of its own. It holds the records that came
in while the one before it was on its way, and its name says which, and whose they are:
`000000012-000000034-0003.jsonl` has the 13th to the 34th, by the third process that wrote this log.
So a reader knows from the names alone that none is missing.

Object stores have no locks either, so two processes may write one log for a while: a run is resumed
from another machine while the first, out of reach of the storage for minutes, still tries to bring
its records. Which of them count is decided by the reader, from the names. A process that takes the
log over leaves an empty segment where it begins; whatever an earlier one brings from there on is no
part of the log, however late it comes. Programs before this rule named no process: theirs is 0.
"""

import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.storage.place import Place

SEGMENTS = "log/segments"
"""The folder of the segments, in the run's own."""

WRITER = "log/writer"
"""Holds the mark of the process that writes. One that finds another's mark there was replaced."""

SECONDS_A_SEGMENT = 0.5
"""The least, so that a day of short trials leaves thousands of objects, not a million."""

SECONDS_BETWEEN_LOOKS = 5.0
"""The storage is asked for something even while there is nothing to bring: trials that wait for it
to take their checkpoints make no records, and the user would not hear that it is away."""

MOST_SEGMENTS = 1000
"""When there are more, they are merged, so that a run that is resumed reads them in one go."""

SLOW = 10.0
"""Seconds without an answer from the storage after which the user is told."""

READERS = 16
"""Segments that are fetched at a time."""

_NAME = re.compile(r"(\d{9,})-(\d{9,})(?:-(\d{4,}))?\.jsonl")


@dataclass(frozen=True)
class Segment:
    """The records from number `start`, counted from 0, up to but without `end`."""

    start: int
    end: int
    generation: int
    """That of its writer: one more than that of the process which it took the log over from."""

    @property
    def name(self) -> str:
        writer = f"-{self.generation:04}" if self.generation else ""
        return f"{SEGMENTS}/{self.start:09}-{self.end:09}{writer}.jsonl"


class ReplacedError(RunFailedError):
    """Another process took the log over."""

    def __init__(self, run: Place) -> None:
        super().__init__(
            f"{run}: another process continues this run; what this one has recorded since is in"
            " its own folder alone"
        )


class DamagedLogError(UserError):
    """The log in a storage is not whole."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"{problem}; the folder that it was written from has them, and --resume with that one"
            " brings them again"
        )


def segments_of(run: Place) -> list[Segment]:
    """Returns the segments that together hold the log, in order.

    Raises DamagedLogError where one is missing.
    """
    return chosen_segments(all_segments(run), run=run)


def all_segments(run: Place) -> list[Segment]:
    """Returns also those that are no part of the log: merged, or of a replaced process."""
    found = [_NAME.fullmatch(name) for name in (run / SEGMENTS).names()]
    return [Segment(*(int(part or 0) for part in match.groups())) for match in found if match]


def chosen_segments(found: Sequence[Segment], *, run: Place) -> list[Segment]:
    """Returns those that hold the log, in order; one that others were merged into replaces them."""
    begins: dict[int, int] = {}
    for segment in found:
        begins[segment.generation] = min(segment.start, begins.get(segment.generation, sys.maxsize))
    # What a process brought before a later one began counts; what it brought after that does not,
    # since the later one has written other records under the same numbers.
    valid = [
        segment
        for segment in found
        if all(segment.end <= at for later, at in begins.items() if later > segment.generation)
    ]
    chosen: list[Segment] = []
    # The longest first: after a crash in the middle of a merge, its parts are still there.
    for segment in sorted(valid, key=lambda s: (s.start, -s.end)):
        reached = chosen[-1].end if chosen else 0
        if segment.end <= reached:
            continue
        if segment.start != reached:
            raise DamagedLogError(
                f"{run}: records {reached} to {segment.start} of its log are missing"
            )
        chosen.append(segment)
    return chosen


def read_lines(run: Place) -> list[bytes]:
    """Returns the lines of a run's log, each with its line end, as they were appended.

    Raises DamagedLogError where some are missing.
    """
    return lines_of(segments_of(run), run=run)


def lines_of(segments: Sequence[Segment], *, run: Place) -> list[bytes]:
    with ThreadPoolExecutor(READERS) as pool:
        contents = pool.map(lambda segment: (run / segment.name).read(), segments)
        lines: list[bytes] = []
        for segment, content in zip(segments, contents, strict=True):
            held = content.splitlines(keepends=True)
            if len(held) != segment.end - segment.start or not content.endswith(b"\n"):
                raise DamagedLogError(
                    f"{run / segment.name}: is damaged: it holds {len(held)} lines, not all of"
                    f" them whole or not the {segment.end - segment.start} that its name says"
                )
            lines += held
    return lines


class LogMirror:
    """Brings records to the storage as they come, on a thread of its own.

    A search must not wait for a storage that is slow or away, so `add` only queues. What has to
    come after the records in the storage, such as the removal of a checkpoint that they name, is
    given to `then`.

    State: `_waiting`, the lines that are not safe yet; `written`, the number of those that are;
    `_actions`, what is to be done once a number of them is; `_error`, why the thread ended.
    `_changed` guards the first three.
    """

    def __init__(self, run: Place, lines: Sequence[bytes], *, tell: Callable[[str], None]) -> None:
        """Takes the log over from whichever process wrote it before.

        `lines` is the log on this machine's disk; what the storage lacks of it is brought there.
        Raises UserError where the storage holds more of it.
        """
        self._run, self._tell = run, tell
        self._mark = uuid4().hex.encode()
        with self._told_if_slow():
            self.written = self._take_over(lines)
        self._waiting = list(lines[self.written :])
        self._actions: deque[tuple[int, Callable[[], None]]] = deque()
        self._closing = False
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, daemon=True, name="log-mirror")
        self._thread.start()

    def _take_over(self, lines: Sequence[bytes]) -> int:
        """Returns how many of the lines the storage holds, after this process is their writer.

        Each writer looks at the mark after each segment, and only then takes its records for safe.
        So the mark must be set before the look that counts: a segment whose writer still found its
        own mark was there by then, and is counted; a later one is not part of the log.
        """
        # First of all, since the mark would end the process that writes now: one that may not take
        # the log over must not leave it.
        self._agreed(all_segments(self._run), lines)
        (self._run / WRITER).write(self._mark)
        found = all_segments(self._run)
        self._segments = len(found)
        self._generation = 1 + max((segment.generation for segment in found), default=0)
        written = self._agreed(found, lines)
        if written is None:  # damaged: all of it is brought again, and replaces what is there
            written = len(lines)
            begin, content = Segment(0, written, self._generation), b"".join(lines)
        else:
            begin, content = Segment(written, written, self._generation), b""
        (self._run / begin.name).write(content)
        self._check_mark()
        return written

    def _agreed(self, found: Sequence[Segment], lines: Sequence[bytes]) -> int | None:
        """Returns how many of the lines the storage holds; None where its log is damaged.

        Raises UserError where it holds more or others.
        """
        held = max((segment.end for segment in found), default=0)
        try:
            stored = read_lines(self._run)
        except DamagedLogError:
            if held > len(lines):
                raise
            return None
        if stored != list(lines[: len(stored)]):
            raise UserError(
                f"{self._run}: holds {len(stored)} records, and the run's own folder {len(lines)},"
                " which do not begin with those: it was continued on another machine;"
                f" --resume {self._run} continues from there"
            )
        return len(stored)

    def add(self, line: bytes) -> None:
        """Queues a line. Raises RunFailedError where what came before could not be written."""
        self._check()
        with self._changed:
            self._waiting.append(line)
            self._changed.notify()

    def then(self, action: Callable[[], None]) -> None:
        """Does `action`, on the mirror's thread, once every record up to here is safe."""
        with self._changed:
            self._actions.append((self.written + len(self._waiting), action))
            self._changed.notify()

    def close(self) -> None:
        """Returns once everything is safe. Raises RunFailedError where that cannot be."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._check()

    def _check(self) -> None:
        if isinstance(self._error, ReplacedError):
            raise self._error
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
        except Exception as error:  # nobody hears of it on this thread; `_check` raises it
            self._error = error

    def _wait(self) -> bool:
        """Returns True when there is something to do, also after a while; False at the end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting or self._actions or self._closing,
                timeout=SECONDS_BETWEEN_LOOKS,
            )
            return bool(self._waiting or self._actions) or not self._closing

    def _write(self) -> None:
        """Brings what waits as one segment."""
        # A copy, since lines come in meanwhile. They stay in `_waiting` until they are safe.
        lines = self._waiting[:]
        with self._told_if_slow():
            self._check_mark()
            if not lines:
                return
            segment = Segment(self.written, self.written + len(lines), self._generation)
            (self._run / segment.name).write(b"".join(lines))
            # The write may have taken minutes, in which another process took over. If the mark is
            # still this one's, whoever comes later counts this segment: see `_take_over`.
            self._check_mark()
            self._segments += 1
            if self._segments > MOST_SEGMENTS:
                self._merge()
        with self._changed:
            del self._waiting[: len(lines)]
            self.written = segment.end

    def _act(self) -> None:
        while self._actions and self._actions[0][0] <= self.written:
            with self._told_if_slow():
                self._actions.popleft()[1]()

    def _check_mark(self) -> None:
        if (self._run / WRITER).read() != self._mark:
            raise ReplacedError(self._run)

    def _merge(self) -> None:
        """Writes the whole log as one segment, and only then removes those that it replaces.

        So a reader finds a whole log at any moment.
        """
        found = all_segments(self._run)
        if any(segment.generation > self._generation for segment in found):
            raise ReplacedError(self._run)
        old = chosen_segments(found, run=self._run)
        one = Segment(0, old[-1].end, self._generation)
        (self._run / one.name).write(b"".join(lines_of(old, run=self._run)))
        for segment in found:
            if segment != one:
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
