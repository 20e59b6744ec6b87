"""Where a run keeps what it leaves, and how such a folder begins."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import dump_experiment


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run; the README's table says what each holds."""

    path: Path

    @property
    def experiment(self) -> Path:
        return self.path / "experiment.yaml"

    @property
    def split(self) -> Path:
        return self.path / "split.json"

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    @property
    def model(self) -> Path:
        return self.path / "best.safetensors"

    @property
    def model_experiment(self) -> Path:
        """The resolved experiment of the model, beside it."""
        return self.path / "best.yaml"

    def drop_checkpoints(self) -> None:
        """Of a run that is over: what would have gone on from them is of no more use."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    @property
    def holds_a_run(self) -> bool:
        return self.log.exists() or self.experiment.exists()


def default_folder(name: str) -> Path:
    """runs/<name>-<time>, in local time to the second."""
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raises UserError where a run in `path` would destroy something; changes nothing."""
    if path.exists() and not path.is_dir():
        raise UserError(f"--out {path}: is a file; a folder is needed")
    if RunFolder(path).holds_a_run:
        if not overwrite:
            raise UserError(
                f"--out {path}: holds a run already; choose another folder,"
                " or --overwrite to replace it"
            )
    elif path.exists() and any(path.iterdir()):
        raise UserError(
            f"--out {path}: holds files that are no run; a new or empty folder is needed"
        )


def create_run(path: Path, experiment: Experiment, *, overwrite: bool) -> RunFolder:
    """Makes the folder, replacing a run that `overwrite` gives up, and writes the experiment."""
    check_free(path, overwrite=overwrite)
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    run = RunFolder(path)
    run.experiment.write_text(dump_experiment(experiment), encoding="utf-8")
    return run
