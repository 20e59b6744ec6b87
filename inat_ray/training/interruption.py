"""Signals that end a command: SIGTERM and SIGHUP are handled like Ctrl-C."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

SECONDS_OF_ONE_REQUEST = 1.0
"""Signals within this time count as one: `timeout`, systemd and a closing terminal send two."""

_came: list[tuple[int, float]] = []
"""Numbers and times of the signals that ended this command."""


class Interrupted(KeyboardInterrupt):
    """Raised when a signal asks for the end of this command."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextmanager
def interruptible() -> Iterator[None]:
    """Raises `Interrupted` at the first signal within the context; a later one ends at once.

    A signal that was ignored when the command began stays so: `nohup`, and a shell's `&`.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    taken = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    for number in taken:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number, old in taken.items():
            signal.signal(number, old)
        _came.clear()


def as_interrupted(error: KeyboardInterrupt) -> Interrupted:
    """Returns which signal it was: waiting for Ray may raise a bare one in place of ours."""
    if isinstance(error, Interrupted):
        return error
    return Interrupted(_came[0][0] if _came else signal.SIGINT)


def is_ending() -> bool:
    """Returns whether a signal has come."""
    return bool(_came)


def take_signals_back() -> None:
    """Installs the handlers again after a library put its own, in C++, below those of Python."""
    for number in SIGNALS:
        signal.signal(number, signal.getsignal(number))


def _end(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    _came.append((number, now))
    if len(_came) == 1:
        _leave_closed_terminal()
        raise Interrupted(number)
    if now - _came[0][1] > SECONDS_OF_ONE_REQUEST:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _leave_closed_terminal() -> None:
    """Redirects closed stdout/stderr to /dev/null so that late output does not raise."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            with suppress(OSError):  # a descriptor that was never open
                null = os.open(os.devnull, os.O_RDWR)
                os.dup2(null, descriptor)
