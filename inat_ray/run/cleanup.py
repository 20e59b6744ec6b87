"""Disk space that runs and packs can give back: planned first, and then removed.

A finished run gives back what only its processes needed: checkpoints, weights for the nodes, files
that are half written. Its model, log, snapshots (small, and the source of TensorBoard's pictures),
tables, TensorBoard files, result and report stay, and so does whatever this project did not write.
The cache gives back packs that no run below the folder uses, and what killed builds left. Nothing
else is touched, no link is followed, and a run's place in a storage stays as it is.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data.pack import LOCK as BUILD_LOCK
from inat_ray.data.pack import pack_folder, pack_name
from inat_ray.data.pack_file import LEFT_OVER, NAME, SUFFIX
from inat_ray.log.lock import LOCK as RUN_LOCK
from inat_ray.run.folder import CHECKPOINTS, WEIGHTS
from inat_ray.run.listing import Run
from inat_ray.storage.disk import PARTIAL, files_below, remove

DAY = 24 * 60 * 60
"""Seconds."""


@dataclass(frozen=True)
class Removal:
    """A file or folder that can be removed."""

    path: Path
    size: int
    """In bytes."""
    why: str
    lock: Path
    """The lock that whoever writes there holds; it must be held for the removal."""


@dataclass(frozen=True)
class Plan:
    """The removals, and notes on what stays for a reason that the user may want to know."""

    removals: list[Removal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(removal.size for removal in self.removals)

    def __add__(self, other: "Plan") -> "Plan":
        return Plan(self.removals + other.removals, self.notes + other.notes)


def obstacle(run: Run, *, named: bool, older_than: float | None, now: float) -> str | None:
    """Returns why a run is left as it is; None if it may be cleaned.

    `named`: whether the user asked for this very run; `older_than`: days since it last changed.
    """
    if run.state == "running":
        return "is being written"
    if run.is_storage:
        return "is a run's place in a storage"
    if older_than is not None and now - run.changed < older_than * DAY:
        return f"changed in the last {older_than:g} days"
    if run.state != "finished" and not named:
        reason = "is damaged" if run.state == "damaged" else f"is {run.state}, and may be resumed"
        return f"{reason}; name it to clean it all the same"
    return None


def plan_for_runs(
    runs: Sequence[Run], *, named: bool, older_than: float | None, now: float
) -> Plan:
    """Plans the removal of what the runs no longer need; arguments as for `obstacle`."""
    plan = Plan()
    for run in runs:
        found = Plan(list(_left_overs(run)))
        reason = obstacle(run, named=named, older_than=older_than, now=now)
        if found.removals and reason is not None:
            plan.notes.append(f"{run.path}: {reason}; {megabytes(found.size)} of it stay")
            continue
        plan.removals.extend(found.removals)
        if found.removals and run.storage is not None:
            plan.notes.append(f"{run.path}: what is in {run.storage} stays there")
    return plan


def _left_overs(run: Run) -> Iterator[Removal]:
    lock = run.path / "log" / RUN_LOCK
    for name, why in ((CHECKPOINTS, "checkpoints"), (WEIGHTS, "weights for the nodes")):
        path = run.path / name
        if path.is_dir() and not path.is_symlink():
            yield Removal(path, size_of(path), why, lock)
    for folder in (run.path, lock.parent):
        if not folder.is_symlink():
            for path in sorted(folder.glob(f"*{PARTIAL}")):
                if path.is_file() and not path.is_symlink():
                    yield Removal(path, size_of(path), "half written", lock)


def caches_of(runs: Sequence[Run]) -> list[Path]:
    """Returns the folders of packs that the runs name; the default one if none does."""
    configs = [run.experiment.data for run in runs if run.experiment is not None]
    return sorted({pack_folder(config) for config in configs or [DataConfig()]})


def plan_for_packs(runs: Sequence[Run], *, older_than: float | None, now: float) -> Plan:
    """Plans the removal of packs that no run uses, and of what killed builds left."""
    names = {run.path: _pack_of(run) for run in runs}
    unknown = [path for path, name in names.items() if name is None]
    used = None if unknown else {name for name in names.values() if name is not None}
    removals = [
        Removal(path, size_of(path), why, path.parent / BUILD_LOCK)
        for path in _cached(caches_of(runs))
        if (why := why_not_needed(path.name, used=used)) is not None
        and (older_than is None or now - path.lstat().st_mtime >= older_than * DAY)
    ]
    return Plan(removals, _notes_on_packs(unknown, removals))


def why_not_needed(name: str, *, used: set[str] | None) -> str | None:
    """Returns why a file among the packs can be removed; None if it cannot, or is no pack.

    `used`: the packs that runs use; None if that is not known of all runs.
    """
    if LEFT_OVER.fullmatch(name):
        return "left by a build that was killed"
    if NAME.fullmatch(name) and used is not None and name not in used:
        return "pack that no run here uses"
    return None


def _cached(folders: Iterable[Path]) -> Iterator[Path]:
    """Yields what lies in the folders; no link, nor anything in a folder that is one."""
    for folder in folders:
        if folder.is_dir() and not folder.is_symlink():
            yield from (path for path in sorted(folder.iterdir()) if not path.is_symlink())


def _notes_on_packs(unknown: Sequence[Path], removals: Sequence[Removal]) -> list[str]:
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        return [
            f"packs stay: it cannot be told which one {unknown[0]}{more} uses, for the images are"
            " not here or the run is damaged"
        ]
    if removals:
        return ["runs elsewhere may use these packs too; they would make them again"]
    return []


def _pack_of(run: Run) -> str | None:
    """Returns the file name of a run's pack: as its result says, or else found from its images.

    A pack of an earlier version is not used any longer: a run that names one needs a new one.
    """
    if run.pack is not None and run.pack.suffix == SUFFIX:
        return run.pack.name
    if run.experiment is None:
        return None
    try:
        return pack_name(run.experiment.data)
    except UserError:
        return None


def carry_out(plan: Plan) -> tuple[Plan, list[str]]:
    """Removes what is planned; returns what was removed, and the reasons for what was not."""
    done: list[Removal] = []
    problems: list[str] = []
    for removal in plan.removals:
        try:
            _remove(removal)
        except Timeout:
            problems.append(f"{removal.path}: is in use now")
        except OSError as error:
            problems.append(f"{removal.path}: {error.strerror}")
        else:
            done.append(removal)
    return Plan(done), problems


def _remove(removal: Removal) -> None:
    """Removes a file or folder while holding its lock, so that nobody begins to use it."""
    if not removal.lock.parent.is_dir():  # a run without a log, which nobody can go on with
        _delete(removal.path)
        return
    with FileLock(removal.lock, timeout=0):
        _delete(removal.path)


def _delete(path: Path) -> None:
    # Looked at again: somebody may have put a link there since it was planned.
    if path.is_symlink():
        raise OSError(0, "is a link now")
    remove(path)


def size_of(path: Path) -> int:
    """Returns the bytes of a file, or of the files below a folder."""
    if not path.is_dir():
        return path.lstat().st_size
    return sum(status.st_size for _, status in files_below(path))


def megabytes(size: float) -> str:
    """Returns '12.3 MB' or '4.56 GB', in powers of ten, as `df -H` has them."""
    return f"{size / 1e9:,.2f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
