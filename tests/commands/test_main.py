import subprocess
import sys
from importlib import import_module

import pytest

import inat_ray
from inat_ray.__main__ import COMMANDS, main, summary
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
    assert help_of(import_module(f"inat_ray.{name}").main).split("\n\n")[0] == summary(name)


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


SLOW = ("torch", "torchvision", "ray", "scipy", "sklearn", "hyperopt", "timm", "pandas")


def imported(*arguments: object, before: str) -> set[str]:
    """The modules that a command imports before it says something."""
    line = [sys.executable, "-X", "importtime", "-m", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    earlier, said, _ = (done.stdout + done.stderr).partition(before)
    assert said, done.stderr[-2000:]
    return {line.rpartition("|")[2].strip() for line in earlier.splitlines() if "|" in line}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["inat_ray", "--help"], "Hyperparameter search"),
        (["inat_ray.sweep", "nowhere"], "inat_ray sweep: reading nowhere"),
        (["inat_ray.train", "nowhere"], "inat_ray train: reading nowhere"),
        (["inat_ray.evaluate", "nowhere"], "inat_ray evaluate: reading nowhere"),
    ],
)
def test_a_command_says_its_first_word_before_it_loads_anything_slow(arguments, word):
    before = imported(*arguments, before=word)
    assert before.isdisjoint(SLOW)
    assert "--help" not in arguments or before.isdisjoint(("numpy", "pydantic.main", "pyarrow"))


def test_a_training_has_its_first_epoch_before_it_loads_what_it_does_not_need(
    data_folder, small_settings, tmp_path
):
    options = [part for line in small_settings for part in ("--set", line)]
    line = ["inat_ray.train", "--data", data_folder, "--out", tmp_path / "run", *options]
    before = imported(*line, before="epoch 1/2")
    assert "torch" in before
    others = {*SLOW, "torch._dynamo", "sympy"} - {"torch"}
    assert before.isdisjoint(others)
