"""Where a run keeps what it leaves, and how such a folder begins.

The folder is on the disk of the machine that runs the search. A run with a storage has a place
there that every node sees: trials leave their checkpoints in it, and whatever the folder gets is
brought there too, so that another machine can go on if this one is lost.
"""

import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from uuid import uuid4

from inat_ray.config.errors import RunFailedError, UserError, readable
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import dump_experiment
from inat_ray.log.lock import (
    ALIVE,
    LOCK,
    check_nobody_below,
    check_nobody_in,
    is_being_written,
    locked,
)
from inat_ray.log.mirror import SEGMENTS, WRITER
from inat_ray.log.run_log import EVENTS, read_stored
from inat_ray.storage.disk import PARTIAL, files_below, remove, replacing
from inat_ray.storage.place import Place, checked_storage, is_address

STORAGE = "storage"
"""The file with the address of a run's place in the storage."""

MODEL, EXPERIMENT = "best.safetensors", "experiment.yaml"
CHECKPOINTS, WEIGHTS, SNAPSHOTS = "checkpoints", "weights", "snapshots"


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run; the README's table says what each holds."""

    path: Path
    is_claimed: bool = field(default=False, compare=False)
    """Whether this process holds the run's lock."""

    may_overwrite: bool = field(default=False, compare=False)
    """Whether `begin_run` may replace a run in the folder's place in the storage."""

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
    def events(self) -> Path:
        """The log's file; not there before anything has happened."""
        return self.log / EVENTS

    @property
    def storage(self) -> Place | None:
        """The run's place in the storage; None where it has none."""
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
            with replacing(self.model) as partial:
                partial.write_bytes(self.shared_model.read())

    def keep(self, *files: Path) -> None:
        """Brings files of this folder to the storage, if there is one."""
        if self.storage is not None:
            for file in files:
                (self.storage / str(file.relative_to(self.path))).write(file.read_bytes())

    def keep_all(self) -> None:
        """Brings there whatever is not there by itself."""
        # The log has its own way, and so has the model; a link may lead to anything.
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
    with _usable(path):
        _check_free(path, overwrite=overwrite)
        if is_being_written(RunFolder(path).log):
            raise UserError(f"--out {path}: another process is at work on this run")


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """Raises UserError for an error of the system."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"--out {path}: cannot be used: {error.strerror}; choose another folder"
        ) from None


def _check_free(path: Path, *, overwrite: bool) -> None:
    if path.is_symlink() and not path.exists():
        raise UserError(f"--out {path}: is a link that leads nowhere; a folder is needed")
    if path.exists() and not path.is_dir():
        raise UserError(f"--out {path}: is a file; a folder is needed")
    run = RunFolder(path)
    if run.log.is_symlink():
        raise UserError(f"--out {path}: its log is a link, and what that leads to is not replaced")
    if run.holds_a_run:
        if not overwrite:
            raise UserError(
                f"--out {path}: holds a run already; choose another folder,"
                " or --overwrite to replace it"
            )
        check_nobody_below(path, option=f"--overwrite {path}")
    elif path.exists() and {file for file, _ in files_below(path)} - {run.log / LOCK}:
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
    if not (place / EXPERIMENT).exists():
        if place.names():
            raise UserError(
                f"resources.storage_path: {place}: holds files that are no run; choose another"
                " --out, whose last part is the name there"
            )
        return
    if not overwrite:
        raise UserError(
            f"resources.storage_path: {place}: holds a run already; choose another --out, whose"
            " last part is the name there, or --overwrite to replace it"
        )
    if place.is_local:  # it may be the folder of a run that has its storage elsewhere
        there = Path(str(place))
        check_nobody_below(there, option="--overwrite")
        if is_being_written(RunFolder(there).log):
            raise UserError(f"--overwrite: another process is at work on {there}")
    check_nobody_in(place, option="--overwrite")


@contextmanager
def claimed(
    path: Path | None, experiment: Experiment, *, name: str | None = None, overwrite: bool
) -> Iterator[RunFolder]:
    """A folder for a new run, nobody else's while the context lasts; the default one of None.

    What it holds stays until `begin_run`; where that is not reached, the folder is as it was.
    Raises UserError where another process is at work on it, and as `check_free`, `check_storage`.
    """
    made = _missing(path or Path("runs"))
    if path is None:
        path = _new_default(name or experiment.name)
        made = [path, *made]
    check_free(path, overwrite=overwrite)
    log = RunFolder(path).log
    made = made if log.exists() else [log, *made]
    with reclaimed(path, made=made) as run:
        _check_free(path, overwrite=overwrite)  # it may have been taken before the lock was
        if run.holds_a_run:
            check_nobody_in(Place.at(path), option=f"--overwrite {path}")
        check_storage(path, experiment, overwrite=overwrite)
        yield replace(run, may_overwrite=overwrite)


def _missing(path: Path) -> list[Path]:
    """`path` and the folders around it as far as they are not there yet, innermost first."""
    with _usable(path):
        return [folder for folder in (path, *path.parents) if not folder.exists()]


def _new_default(name: str) -> Path:
    """The default folder, made; a number is added where another run began in the same second."""
    first = default_folder(name)
    with _usable(first):
        first.parent.mkdir(parents=True, exist_ok=True)
        for number in count(2):
            path = first if number == 2 else first.with_name(f"{first.name}-{number - 1}")
            with suppress(FileExistsError):
                path.mkdir()
                return path
    raise AssertionError


def _unmake(log: Path, made: Sequence[Path]) -> None:
    with suppress(OSError):  # somebody has put something there
        if log in made:
            (log / LOCK).unlink(missing_ok=True)
        for folder in made:
            folder.rmdir()


@contextmanager
def reclaimed(path: Path, *, made: Sequence[Path] = ()) -> Iterator[RunFolder]:
    """The folder of a run that goes on, nobody else's while the context lasts.

    `made`: folders that are removed at the end where no run has begun, innermost first.
    Raises UserError where another process is at work on it, RunFailedError where it is removed
    meanwhile.
    """
    log = RunFolder(path).log
    lock = locked(log)
    try:
        yield RunFolder(path, is_claimed=True)
    except OSError as error:
        if (log / LOCK).exists():
            raise
        raise RunFailedError(
            f"{path}: the run's folder was removed or renamed while this process was at work on it"
        ) from error
    finally:
        if made and not RunFolder(path).experiment.exists():
            _unmake(log, made)  # before another process can take the lock and lose its file
        lock.release()


def claimed_or_reclaimed(
    path: Path | None, experiment: Experiment, *, is_new: bool, overwrite: bool
) -> AbstractContextManager[RunFolder]:
    """Returns the context of `claimed` for a new run, or that of `reclaimed`."""
    if is_new:
        return claimed(path, experiment, overwrite=overwrite)
    assert path is not None
    return reclaimed(path)


def begin_run(run: RunFolder, experiment: Experiment) -> None:
    """Empties a claimed folder and its place in the storage, and writes the experiment.

    Raises UserError as `check_storage`: since the folder was claimed, a process on another machine
    may have begun a run in that place.
    """
    check_storage(run.path, experiment, overwrite=run.may_overwrite)
    with _usable(run.path):
        old = [*run.log.iterdir(), *run.path.iterdir()]
        for entry in old:  # without an experiment it would be no run, if this is cut off
            if entry not in (run.log, run.log / LOCK, run.experiment):
                remove(entry)
        if (address := experiment.resources.storage_path) is not None:
            place = Place.at(address) / run.path.name
            place.remove()
            with replacing(run.path / STORAGE) as partial:
                partial.write_text(place.address, encoding="utf-8")
        with replacing(run.experiment) as partial:
            partial.write_text(dump_experiment(experiment), encoding="utf-8")
    run.keep(run.experiment)


def is_storage(run: str) -> bool:
    """Whether a run is named by its place in a storage rather than by its folder."""
    return is_address(run) or RunFolder(Path(run)).is_storage


def run_here(run: str, path: Path | None = None) -> Path:
    """The folder of a run that is named by it, or by the run's place in its storage.

    From there it is brought to `path`, or to runs/<its name>, to go on with it on this machine.
    Raises UserError where there is no such run, or a run in the folder already.
    """
    if is_storage(run):
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
    with _usable(path):
        target = path.resolve()
        partial = target.with_name(f".{uuid4().hex}{PARTIAL}")
        try:
            _bring(storage, partial)
            partial.replace(target)
        finally:
            remove(partial)
    return path


def _bring(storage: Place, folder: Path) -> None:
    others = (CHECKPOINTS, SEGMENTS, SNAPSHOTS, WRITER, ALIVE, WEIGHTS)
    for name in storage.names():
        if not name.startswith(others):
            _write(folder / name, (storage / name).read())
    lines = b"".join(line for line, _ in read_stored(storage))
    _write(RunFolder(folder).events, lines)
    _write(folder / STORAGE, storage.address.encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
