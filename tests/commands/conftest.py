"""Commands in this process: what costs no process of its own is asked as often as it is worth."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from inat_ray import evaluate, export, options, predict, prepare, runs, simulate, sweep, train
from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import open_dataset
from inat_ray.storage.place import Place
from inat_ray.training.checkpoint import save_model
from inat_ray.training.fit import Fit

COMMANDS = {
    "sweep": sweep,
    "train": train,
    "prepare": prepare,
    "evaluate": evaluate,
    "predict": predict,
    "export": export,
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


SaveModel = Callable[..., Path]


@pytest.fixture(scope="session")
def save_untrained(data_folder, small_settings) -> SaveModel:
    """Writes a model of the photographs, trained for no epoch, with settings on top."""

    def save(path: Path, *settings: str) -> Path:
        lines = [*small_settings, f"data.source={data_folder}", "device=cpu", *settings]
        experiment = load_experiment(None, settings=lines)
        save_model(Place.at(path), Fit(experiment, open_dataset(experiment.data)))
        return path

    return save
