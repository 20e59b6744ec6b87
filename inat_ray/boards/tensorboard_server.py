"""Serves TensorBoard for a run, to this machine alone, while the run lasts.

The server is a process of its own, so that it takes no time from the one that trains. It ends when
its standard input is closed, so it does not outlive a run that is killed.
"""

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from inat_ray.config.errors import UserError

HOST, PORT = "127.0.0.1", 6006

SECONDS_TO_END = 10


def check_port(port: int) -> None:
    """Raises UserError if nothing can be served at `port`."""
    with socket.socket() as probe:
        # As the server does: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(
                f"--tensorboard-port: {port}: {os.strerror(error.errno or 0).lower()};"
                " choose another one, or stop the program that uses it"
            ) from None


@contextmanager
def tensorboard_server(
    folder: Path, *, port: int | None, tell: Callable[[str], None]
) -> Iterator[None]:
    """Serves `folder` while the context lasts, and says where; without a port it does nothing."""
    if port is None:
        yield
        return
    line = [sys.executable, "-m", __name__, str(folder.resolve()), str(port)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)
    tell(f"TensorBoard is at http://{HOST}:{port}/ in some seconds, while this run lasts")
    try:
        yield
        if process.poll() is not None:
            command = shlex.join(["tensorboard", "--logdir", str(folder)])
            tell(f"TensorBoard ended early; `{command}` says why")
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(timeout=SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _serve(folder: str, port: str) -> None:
    from tensorboard import default, program

    Thread(target=_leave_with_parent, daemon=True).start()
    board = program.TensorBoard(default.get_plugins())
    # `load_fast` would start one more process, which does not end with this one.
    board.configure(logdir=folder, host=HOST, port=int(port), load_fast="false")
    sys.exit(board.main())


def _leave_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
