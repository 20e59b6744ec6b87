import subprocess
import sys
from importlib import import_module

import pytest

import inat_ray
from inat_ray.__main__ import COMMANDS, main
from inat_ray.options import help_of


@pytest.fixture
def asked(monkeypatch, capsys):
    """Runs `inat-ray ARGS` in this process; returns (exit code, stderr and stdout)."""

    def asked(*args: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["inat-ray", *args])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.err + captured.out

    return asked


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_of_each_what_its_own_help_begins_with(name):
    assert help_of(import_module(f"inat_ray.{name}").main).split("\n\n")[0] == COMMANDS[name]


def test_the_version_is_the_packages(asked):
    assert asked("--version") == (0, f"inat_ray {inat_ray.__version__}\n")


def test_a_command_gets_its_own_options_and_name(asked):
    code, text = asked("sweep", "--help")
    assert code == 0
    assert "inat-ray sweep [OPTIONS]" in text
    assert "--dry-run" in text


def test_a_command_has_the_commands_beside_it(asked):
    code, text = asked("runs", "clean", "--help")
    assert (code, "--older-than" in text) == (0, True)


def test_a_mistake_of_the_user_ends_with_2(asked, tmp_path):
    code, text = asked("runs", "compare", str(tmp_path))
    assert (code, "holds no run" in text) == (2, True)


@pytest.mark.parametrize("args", [(), ("nothing",), ("--nothing",)])
def test_what_is_no_command_is_refused(asked, args):
    code, text = asked(*args)
    assert (code, "inat-ray [OPTIONS] COMMAND" in text) == (2, True)


def printed(program: str) -> str:
    line = [sys.executable, "-c", program]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


def test_the_help_imports_neither_torch_nor_ray_nor_numpy():
    program = (
        "import sys, inat_ray.__main__ as m; sys.argv = ['inat-ray', '--help']\n"
        "try: m.main()\n"
        "except SystemExit: print({'torch', 'ray', 'numpy'} & set(sys.modules))"
    )
    assert printed(program).endswith("set()\n")


def test_a_sweep_says_what_it_loads_before_it_does():
    program = "import sys, inat_ray.sweep; print({'torch', 'ray'} & set(sys.modules))"
    assert printed(program) == "set()\n"
