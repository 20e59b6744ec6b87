"""Where a run keeps what it leaves, and how such a folder begins.

The folder is on the disk of the machine that runs the search. A run with a storage has a place
there that every node sees: trials leave their checkpoints in it, and whatever the folder gets is
brought there too, so that another machine can go on if this one is lost.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from inat_ray.config.errors import UserError, readable
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import dump_experiment
from inat_ray.search.log_mirror import SEGMENTS, WRITER
from inat_ray.search.run_log import EVENTS, LOCK, read_stored
from inat_ray.storage.place import Place, checked_storage, is_address

STORAGE = "storage"
"""The file with the address of a run's place in the storage."""

MODEL, EXPERIMENT = "best.safetensors", "experiment.yaml"
CHECKPOINTS, WEIGHTS, SNAPSHOTS = "checkpoints", "weights", "snapshots"


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run; the README's table says what each holds."""

    path: Path

    @property
    def experiment(self) -> Path:
        return self.path / EXPERIMENT

    @property
    def split(self) -> Path:
        return self.path / "split.json"

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def storage(self) -> Place | None:
        """The run's place in the storage; None where it has none."""
        file = self.path / STORAGE
        if not file.exists():
            return None
        with readable(file, remedy="it holds the address of the run's place in its storage"):
            return Place.at(file.read_text(encoding="utf-8").strip())

    @property
    def shared(self) -> Place:
        """What every node that trains for the run sees."""
        return self.storage or Place.at(self.path)

    @property
    def checkpoints(self) -> Place:
        return self.shared / CHECKPOINTS

    def snapshot(self, trial_id: str) -> Place:
        """Where a trial leaves what its best epoch looks like."""
        return snapshot_in(self.shared, trial_id)

    @property
    def shared_model(self) -> Place:
        """Where training leaves the best model."""
        return self.shared / MODEL

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def model(self) -> Path:
        """On this machine; see `fetch_model`."""
        return self.path / MODEL

    @property
    def model_experiment(self) -> Path:
        """The resolved experiment of the model, beside it."""
        return self.path / "best.yaml"

    def fetch_model(self) -> None:
        """Brings the model that training has left to this machine."""
        if self.storage is not None:
            self.model.write_bytes(self.shared_model.read())

    def keep(self, *files: Path) -> None:
        """Brings files of this folder to the storage, if there is one."""
        if self.storage is not None:
            for file in files:
                (self.storage / str(file.relative_to(self.path))).write(file.read_bytes())

    def keep_all(self) -> None:
        """Brings there whatever is not there by itself."""
        self.keep(*(file for file in sorted(self.path.rglob("*")) if self._is_result(file)))

    def _is_result(self, file: Path) -> bool:
        """The log has its own way, and so has the model."""
        others = {self.path / STORAGE, self.log / LOCK, self.log / EVENTS, self.model}
        return file.is_file() and file not in others

    @property
    def holds_a_run(self) -> bool:
        return self.log.exists() or self.experiment.exists()


def model_file(path: Path) -> Path:
    """The saved model that `path` names: the file, or the one in a run folder.

    Raises UserError where there is none.
    """
    file = RunFolder(path).model if path.is_dir() else path
    if not file.exists():
        raise UserError(f"{file}: there is no such model; give a run folder or a .safetensors")
    return file


def snapshot_in(shared: Place, trial_id: str) -> Place:
    """A trial's snapshot in what the nodes of a run share."""
    return shared / SNAPSHOTS / f"{trial_id}.safetensors"


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


def check_storage(path: Path, experiment: Experiment, *, overwrite: bool) -> None:
    """Raises UserError where the run in `path` cannot be kept in the experiment's storage."""
    if (address := experiment.resources.storage_path) is None:
        return
    place = checked_storage(address) / path.name
    if place.is_local and Path(str(place)) == path.resolve():
        raise UserError(
            f"resources.storage_path: {place}: is the run's own folder, which is on this machine's"
            " disk; choose an --out that is elsewhere, such as runs/..."
        )
    if not overwrite and (place / EXPERIMENT).exists():
        raise UserError(
            f"resources.storage_path: {place}: holds a run already; choose another --out, whose"
            " last part is the name there, or --overwrite to replace it"
        )


def create_run(path: Path, experiment: Experiment, *, overwrite: bool) -> RunFolder:
    """Makes the folder, replacing a run that `overwrite` gives up, and writes the experiment."""
    check_free(path, overwrite=overwrite)
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    run = RunFolder(path)
    if (address := experiment.resources.storage_path) is not None:
        place = Place.at(address) / path.name
        place.remove()
        (path / STORAGE).write_text(place.address, encoding="utf-8")
    run.experiment.write_text(dump_experiment(experiment), encoding="utf-8")
    run.keep(run.experiment)
    return run


def run_here(run: str, path: Path | None = None) -> Path:
    """The folder of a run that is named by it, or by the run's place in its storage.

    From there it is brought to `path`, or to runs/<its name>, to go on with it on this machine.
    Raises UserError where there is no such run, or a run in the folder already.
    """
    if is_address(run) or (Path(run) / SEGMENTS).is_dir():
        return _fetch(run, path)
    if path is not None:
        raise UserError(
            f"--out: has no place beside --resume or --extend of a folder, {run}; it is for a run"
            " that is brought from its storage"
        )
    return Path(run)


def _fetch(address: str, path: Path | None) -> Path:
    storage = Place.at(address)
    if not (storage / EXPERIMENT).exists():
        raise UserError(f"{storage}: holds no run")
    path = path or Path("runs") / storage.last_name
    if RunFolder(path).holds_a_run:
        raise UserError(
            f"{path}: holds a run already; --resume {path} goes on with it here,"
            " and another --out takes the one from the storage"
        )
    check_free(path, overwrite=False)
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for name in storage.names():
        if not name.startswith((CHECKPOINTS, SEGMENTS, SNAPSHOTS, WRITER, WEIGHTS)):
            _write(partial / name, (storage / name).read())
    lines = b"".join(line for line, _ in read_stored(storage))
    _write(partial / RunFolder(path).log.name / EVENTS, lines)
    _write(partial / STORAGE, storage.address.encode())
    partial.replace(path)
    return path


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
