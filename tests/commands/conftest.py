"""Commands in this process: what costs no process of its own is asked as often as it is worth."""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from inat_ray import (
    check,
    ensemble,
    evaluate,
    export,
    options,
    predict,
    prepare,
    report,
    runs,
    simulate,
    sweep,
    train,
)
from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import open_dataset
from inat_ray.storage.place import Place
from inat_ray.training.checkpoint import model_writer
from inat_ray.training.fit import Fit

COMMANDS = {
    "sweep": sweep,
    "train": train,
    "prepare": prepare,
    "evaluate": evaluate,
    "check": check,
    "predict": predict,
    "export": export,
    "ensemble": ensemble,
    "report": report,
    "runs": runs,
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
            options.run(COMMANDS[name].main, also=getattr(COMMANDS[name], "ALSO", {}))
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.err + captured.out

    return told


@pytest.fixture(scope="session")
def trained(tmp_path_factory, data_folder, small_settings) -> Path:
    """A run of `train` on photographs; it has not seen the test set unless a test looks at it."""
    experiment = load_experiment(None, settings=[*small_settings, f"data.source={data_folder}"])
    folder, _ = train.run_training(tmp_path_factory.mktemp("train") / "run", experiment)
    return folder


SaveModel = Callable[..., Path]


@pytest.fixture(scope="session")
def save_untrained(data_folder, small_settings) -> SaveModel:
    """Writes a model of the photographs, trained for no epoch, with settings on top."""

    def save(path: Path, *settings: str) -> Path:
        lines = [*small_settings, f"data.source={data_folder}", "device=cpu", *settings]
        experiment = load_experiment(None, settings=lines)
        fit, temperature = (
            Fit(experiment, open_dataset(experiment.data)),
            0.4 + 0.2 * experiment.seed,
        )
        model_writer(fit, temperature=temperature)(Place.at(path))
        return path

    return save


EXPERIMENT = """
search:
  method: bayes
  trials: 6
  parameters:
    recipe.lr: {distribution: log_uniform_values, min: 1e-4, max: 1e-1}
    model.filters: {values: [[4, 4, 8, 8, 8], [8, 8, 8, 8, 8]]}
    model.batch_norm: {values: [true, false]}
  early_stopping: {kind: asha, min_epochs: 1, reduction_factor: 2}
"""


@pytest.fixture(scope="session")
def arguments(tmp_path_factory, data_folder, small_settings) -> list[str]:
    """Of a small sweep on photographs, but for --out."""
    path = tmp_path_factory.mktemp("experiment") / "small.yaml"
    path.write_text("name: small" + EXPERIMENT)
    # What --set names is searched no longer.
    fixed = [line for line in small_settings if not line.startswith("model.filters")]
    settings = [arg for line in fixed for arg in ("--set", line)]
    return [str(path), "--data", str(data_folder), *settings]


SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "5ec2e70a" * 5,
    "AWS_SESSION_TOKEN": "5ec2e70b" * 5,
    "WANDB_API_KEY": "5ec2e70c" * 5,
    "MLFLOW_TRACKING_TOKEN": "5ec2e70d" * 5,
    "MLFLOW_TRACKING_URI": "https://host/mlflow?token=" + "5ec2e70e" * 5,
}
"""What the environment of the suite's sweep holds, and nothing else may."""


class Swept(NamedTuple):
    """What a sweep left."""

    folder: Path
    """Its run; MLflow's file is beside it."""
    done: "subprocess.CompletedProcess[str]"
    rays_folder: Path
    command_lines: set[bytes]
    """Of all processes there were."""


@pytest.fixture(scope="session")
def swept_with_secrets(tmp_path_factory, command, arguments) -> Iterator[Swept]:
    folder = tmp_path_factory.mktemp("sweep") / "run"
    tracking = [
        *("--track", "wandb", "--set", "tracking.wandb.mode=offline"),
        *("--track", "mlflow", "--set", f"tracking.mlflow.uri=sqlite:///{folder.parent}/mlflow.db"),
    ]
    # A short one: the paths of sockets have a limit.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as rays_folder:
        with pytest.MonkeyPatch.context() as patch, command_lines() as seen:
            for name, value in {**SECRETS, "RAY_TMPDIR": rays_folder}.items():
                patch.setenv(name, value)
            done = command("sweep", *arguments, *tracking, "--out", folder, "--json")
        assert done.returncode == 0, done.stderr
        yield Swept(folder, done, Path(rays_folder), seen)


@contextmanager
def command_lines() -> Iterator[set[bytes]]:
    """Those of all processes that the machine has while the context lasts."""
    seen: set[bytes] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):  # it has ended
                    seen.add(file.read_bytes())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join()


@pytest.fixture(scope="session")
def swept(swept_with_secrets):
    """A run of that sweep: (folder, completed process). MLflow's file is beside the folder."""
    return swept_with_secrets[:2]
