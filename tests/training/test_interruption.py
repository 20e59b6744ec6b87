import os
import pty
import signal
import subprocess
import sys

import pytest

from inat_ray.training.interruption import Interrupted, as_interrupted, interruptible, is_ending

NAP = """
import signal, sys, time
from inat_ray import options

signal.signal(signal.SIGHUP, signal.HANGUP)  # the suite may run where it is ignored

def nap() -> None:
    '''Sleeps.'''
    try:
        print('asleep', flush=True)
        time.sleep(60)
    finally:
        print('kept', file=sys.stderr)

options.run(nap)
"""


def napping(hangup: str = "SIG_DFL") -> "subprocess.Popen[str]":
    """A command of ours that is asleep."""
    line = [sys.executable, "-c", NAP.replace("HANGUP", hangup)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout.readline() == "asleep\n"
    return process


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_a_command_as_ctrl_c_does_with_a_code_of_its_own(name, code):
    process = napping()
    process.send_signal(signal.Signals[name])
    _, told = process.communicate(timeout=30)
    assert process.returncode == code
    assert told == f"kept\nended by {name}\n"


def test_a_signal_that_was_ignored_at_the_start_stays_so():
    """As with nohup."""
    process = napping(hangup="SIG_IGN")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143
    process.communicate()


def test_a_second_signal_ends_at_once_unless_it_comes_with_the_first(monkeypatch):
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    now = iter([100.0, 100.5, 102.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    with interruptible():
        with pytest.raises(Interrupted, match="SIGTERM") as caught:
            signal.raise_signal(signal.SIGTERM)
        assert caught.value.exit_code == 143
        assert is_ending()
        assert as_interrupted(KeyboardInterrupt()).exit_code == 143
        signal.raise_signal(signal.SIGTERM)
        assert sent == []
        signal.raise_signal(signal.SIGTERM)
    assert sent == [(os.getpid(), signal.SIGTERM)]
    assert not is_ending()


def test_a_terminal_that_is_closed_leaves_nobody_to_tell_and_is_no_error(tmp_path):
    code = NAP.replace("HANGUP", "SIG_DFL").replace(
        "print('kept'", "open('kept', 'w');print('kept'"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execv(sys.executable, [sys.executable, "-c", code])
    said = b""
    while not said.endswith(b"\n"):  # a terminal may hand over a line in parts
        said += os.read(terminal, 100)
    assert said == b"asleep\r\n"
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert (tmp_path / "kept").exists()
