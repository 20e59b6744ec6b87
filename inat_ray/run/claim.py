"""How a process takes a run's folder for itself, to begin a run there or to go on with one.

A folder is claimed early and emptied late: a new run opens its data and its Ray cluster before it
begins, so a mistake in either leaves the run that is to be replaced as it was.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import dump_experiment
from inat_ray.log.lock import LOCK, check_nobody_below, check_nobody_in, is_being_written, locked
from inat_ray.run.folder import EXPERIMENT, RUNS, STORAGE, RunFolder
from inat_ray.storage.disk import files_below, remove, write_text
from inat_ray.storage.place import Place, checked_storage


def claimed_or_reclaimed(
    path: Path | None, experiment: Experiment, *, is_new: bool, overwrite: bool
) -> AbstractContextManager[RunFolder]:
    """Returns the context of `claimed` for a new run, or that of `reclaimed`."""
    if is_new:
        return claimed(path, experiment, overwrite=overwrite)
    assert path is not None
    return reclaimed(path)


@contextmanager
def claimed(
    path: Path | None, experiment: Experiment, *, name: str | None = None, overwrite: bool
) -> Iterator[RunFolder]:
    """Gives a folder for a new run, nobody else's while the context lasts; None: the default one.

    Its content stays until `begin_run`; a context that ends before leaves the folder as it was.
    Raises UserError if another process is at work on it, and as `check_free`, `check_storage`.
    """
    with usable(path or RUNS):
        around = (path or RUNS, *(path or RUNS).parents)
        made = [folder for folder in around if not folder.exists()]
    if path is None:
        path = _new_default(name or experiment.name)
        made = [path, *made]
    check_free(path, overwrite=overwrite)
    log = RunFolder(path).log
    made = made if log.exists() else [log, *made]
    with reclaimed(path, made=made) as run:
        _check_content(path, overwrite=overwrite)  # it may have been taken before the lock was
        if run.holds_a_run:
            check_nobody_in(Place.at(path), option=f"--overwrite {path}")
        check_storage(path, experiment, overwrite=overwrite)
        yield replace(run, may_overwrite=overwrite)


@contextmanager
def reclaimed(path: Path, *, made: Sequence[Path] = ()) -> Iterator[RunFolder]:
    """Gives the folder of a run that goes on, nobody else's while the context lasts.

    `made`: folders that are removed at the end if no run has begun, innermost first. Raises
    UserError if another process is at work on it, RunFailedError if it is removed meanwhile.
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


def begin_run(run: RunFolder, experiment: Experiment) -> None:
    """Empties a claimed folder and its place in the storage, and writes the experiment.

    Raises UserError as `check_storage`: since the folder was claimed, a process on another machine
    may have begun a run in that place.
    """
    check_storage(run.path, experiment, overwrite=run.may_overwrite)
    with usable(run.path):
        # The experiment stays to the last: a folder without one, left by a process that is killed
        # here, would be no run, and --overwrite would refuse what else is in it.
        for entry in [*run.log.iterdir(), *run.path.iterdir()]:
            if entry not in (run.log, run.log / LOCK, run.experiment):
                remove(entry)
        if (address := experiment.resources.storage_path) is not None:
            place = Place.at(address) / run.path.name
            place.remove()
            write_text(run.path / STORAGE, place.address)
        write_text(run.experiment, dump_experiment(experiment))
    run.keep(run.experiment)


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raises UserError if a run in `path` would destroy something. Changes nothing."""
    with usable(path):
        _check_content(path, overwrite=overwrite)
        if is_being_written(RunFolder(path).log):
            raise UserError(f"--out {path}: another process is at work on this run")


def _check_content(path: Path, *, overwrite: bool) -> None:
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
    """Raises UserError if the run in `path` cannot be kept in the experiment's storage."""
    if (address := experiment.resources.storage_path) is None:
        return
    place = checked_storage(address) / path.name
    if place.is_local and Path(str(place)) == path.resolve():
        raise UserError(
            f"resources.storage_path: {place}: is the run's own folder, which is on this machine's"
            " disk; choose an --out that is elsewhere, such as runs/..."
        )
    if (place / EXPERIMENT).exists():
        _check_replaceable(place, overwrite=overwrite)
    elif place.names():
        raise UserError(
            f"resources.storage_path: {place}: holds files that are no run; choose another"
            " --out, whose last part is the name there"
        )


def _check_replaceable(place: Place, *, overwrite: bool) -> None:
    """Raises UserError if the run at a place of a storage is not to be replaced, or is at work."""
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
def usable(path: Path) -> Iterator[None]:
    """Turns an error of the system into a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"--out {path}: cannot be used: {error.strerror}; choose another folder"
        ) from None


def default_folder(name: str) -> Path:
    """Returns runs/<name>-<time>, in local time to the second."""
    return RUNS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def _new_default(name: str) -> Path:
    """Makes the default folder; it gets a number if another run began in the same second."""
    first = default_folder(name)
    with usable(first):
        first.parent.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            path = first if number == 1 else first.with_name(f"{first.name}-{number}")
            with suppress(FileExistsError):
                path.mkdir()
                return path
    raise AssertionError


def _unmake(log: Path, made: Sequence[Path]) -> None:
    with suppress(OSError):  # somebody has put something there meanwhile
        if log in made:
            (log / LOCK).unlink(missing_ok=True)
        for folder in made:
            folder.rmdir()
