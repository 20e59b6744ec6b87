"""Commands in this process: what costs no process of its own is asked as often as it is worth."""

import sys
from collections.abc import Callable

import pytest

from inat_ray import evaluate, options, prepare, simulate, sweep, train

COMMANDS = {
    "sweep": sweep,
    "train": train,
    "prepare": prepare,
    "evaluate": evaluate,
    "simulate": simulate,
}

Told = Callable[..., tuple[int, str]]


@pytest.fixture
def told(monkeypatch, capsys) -> Told:
    """Runs a command in this process; returns (exit code, what it wrote to stderr and stdout)."""

    def told(name: str, *args: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            options.run(COMMANDS[name].main)
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.err + captured.out

    return told
