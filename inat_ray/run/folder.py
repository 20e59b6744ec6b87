"""The files and folders of a run.

The folder is on the disk of the machine that runs the search. A run with a storage has a place
there that every node sees: trials leave their checkpoints in it, and whatever the folder gets is
copied there too, so that another machine can go on with the run if this one is lost.
"""

import stat
from dataclasses import dataclass, field
from pathlib import Path

from inat_ray.config.errors import UserError, readable
from inat_ray.log.lock import LOCK
from inat_ray.log.mirror import SEGMENTS
from inat_ray.log.run_log import EVENTS
from inat_ray.storage.disk import files_below, replacing
from inat_ray.storage.place import Place, is_address

RUNS = Path("runs")
"""Where runs are, unless a person says otherwise."""

STORAGE = "storage"
"""The file with the address of a run's place in the storage."""

MODEL, EXPERIMENT = "best.safetensors", "experiment.yaml"
CHECKPOINTS, WEIGHTS, SNAPSHOTS = "checkpoints", "weights", "snapshots"
REQUESTS = "log/requests"
"""The folder of what people ask of a sweep that runs, in its place in the storage, too."""

CODE = "code"
"""The folder of the code of networks of one's own: kept for people, and never run from there."""


class _Below:
    """A file or a folder of a run, by its place in the run's folder."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __get__(self, run: "RunFolder", _: object) -> Path:
        return run.path / self.place


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run; the README's table says what each holds."""

    path: Path
    is_claimed: bool = field(default=False, compare=False)
    """Whether this process holds the run's lock."""

    may_overwrite: bool = field(default=False, compare=False)
    """Whether `begin_run` may replace a run in the folder's place in the storage."""

    experiment = _Below(EXPERIMENT)
    split = _Below("split.json")
    log = _Below("log")
    events = _Below(f"log/{EVENTS}")
    """The log's file, which begins with the run's first record."""
    tensorboard = _Below("tensorboard")
    result = _Below("result.json")
    report = _Below("report.html")
    model = _Below(MODEL)
    """The best model on this machine; see `fetch_model`."""
    model_experiment = _Below("best.yaml")
    """The resolved experiment of the model, beside it."""

    @property
    def storage(self) -> Place | None:
        """The run's place in its storage, if it has one."""
        file = self.path / STORAGE
        if not file.exists():
            return None
        with readable(file, remedy="it holds the address of the run's place in its storage"):
            address = file.read_text(encoding="utf-8").strip()
            if not (is_address(address) or Path(address).is_absolute()):
                raise ValueError(f"{address!r} is neither an absolute path nor s3://...")
            return Place.at(address)

    @property
    def shared(self) -> Place:
        """The place that every node sees which trains for the run."""
        return self.storage or Place.at(self.path)

    @property
    def checkpoints(self) -> Place:
        return self.shared / CHECKPOINTS

    def snapshot(self, trial_id: str) -> Place:
        """Returns the place of a trial's snapshot of its best epoch."""
        return snapshot_in(self.shared, trial_id)

    @property
    def shared_model(self) -> Place:
        """The best model, where training leaves it."""
        return self.shared / MODEL

    def fetch_model(self) -> None:
        """Copies the model from the storage, if there is one, to this machine."""
        if self.storage is not None:
            with replacing(self.model) as partial:
                partial.write_bytes(self.shared_model.read())

    def keep(self, *files: Path) -> None:
        """Copies files of this folder to the storage, if there is one."""
        if self.storage is not None:
            for file in files:
                (self.storage / str(file.relative_to(self.path))).write(file.read_bytes())

    def keep_all(self) -> None:
        """Copies all other files to the storage."""
        # The log is mirrored and the model is there already; a link may lead to anything.
        others = {self.path / STORAGE, self.log / LOCK, self.events, self.model}
        files = (file for file, status in files_below(self.path) if stat.S_ISREG(status.st_mode))
        self.keep(*sorted(file for file in files if file not in others))

    @property
    def holds_a_run(self) -> bool:
        return self.events.exists() or self.experiment.exists() or self.is_storage

    @property
    def is_storage(self) -> bool:
        """Whether the folder is a run's place in a storage that is on this disk."""
        return (self.path / SEGMENTS).is_dir() and not self.events.exists()


def existing_run(path: Path) -> RunFolder:
    """Returns the folder of a run. Raises UserError if there is none in `path`."""
    if not path.is_dir():
        raise UserError(f"{path}: there is no such folder")
    if not (run := RunFolder(path)).holds_a_run:
        raise UserError(f"{path}: holds no run")
    return run


def model_file(path: Path) -> Path:
    """Returns the model that `path` is, or the one in a run folder. Raises UserError if there is
    none."""
    file = RunFolder(path).model if path.is_dir() else path
    if not file.exists():
        raise UserError(f"{file}: there is no such model; give a run folder or a .safetensors")
    return file


def snapshot_in(shared: Place, trial_id: str) -> Place:
    """Returns the place of a trial's snapshot in the place that the nodes of a run share."""
    return shared / SNAPSHOTS / f"{trial_id}.safetensors"
