"""A run that is named by its folder or by its place in a storage, brought to this machine."""

from pathlib import Path
from uuid import uuid4

from inat_ray.config.errors import UserError
from inat_ray.log.lock import ALIVE
from inat_ray.log.mirror import SEGMENTS, WRITER
from inat_ray.log.run_log import read_stored
from inat_ray.run.claim import check_free, usable
from inat_ray.run.folder import (
    CHECKPOINTS,
    EXPERIMENT,
    REQUESTS,
    RUNS,
    SNAPSHOTS,
    STORAGE,
    WEIGHTS,
    RunFolder,
)
from inat_ray.storage.disk import PARTIAL, remove
from inat_ray.storage.place import Place, is_address


def is_storage(run: str) -> bool:
    """Whether a run is named by its place in a storage rather than by its folder."""
    return is_address(run) or RunFolder(Path(run)).is_storage


def run_here(run: str, path: Path | None = None) -> Path:
    """Returns the folder of a run, which is named by it or by the run's place in its storage.

    From a storage the run is brought to `path`, or to runs/<its name>. Raises UserError if there
    is no such run, or a run in that folder already.
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
    """Brings a run from its storage, whole or not at all."""
    storage = Place.at(address)
    if not (storage / EXPERIMENT).exists():
        raise UserError(f"{storage}: holds no run")
    path = path or RUNS / storage.last_name
    if RunFolder(path).holds_a_run:
        raise UserError(
            f"{path}: holds a run already; --resume {path} goes on with it here,"
            " and another --out takes the one from the storage"
        )
    check_free(path, overwrite=False)
    with usable(path):
        target = path.resolve()
        partial = target.with_name(f".{uuid4().hex}{PARTIAL}")
        try:
            _bring(storage, partial)
            partial.replace(target)
        finally:
            remove(partial)
    return path


def _bring(storage: Place, folder: Path) -> None:
    # Checkpoints, snapshots and weights stay in the storage, where every node sees them; the log's
    # segments become one file here, and who writes in the storage is no matter of the folder's.
    others = (CHECKPOINTS, SEGMENTS, SNAPSHOTS, WRITER, ALIVE, WEIGHTS, REQUESTS)
    for name in storage.names():
        if not name.startswith(others):
            _write(folder / name, (storage / name).read())
    lines = b"".join(line for line, _ in read_stored(storage))
    _write(RunFolder(folder).events, lines)
    _write(folder / STORAGE, storage.address.encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
