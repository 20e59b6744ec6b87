"""The runs below a folder, each in a few numbers. A run that is damaged is told as such.

A folder is a run where it has an experiment.yaml or a log of this project's; nothing below a run is
looked at. Hidden folders are passed over, and links are not followed.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.log.history import History
from inat_ray.log.lock import is_being_written
from inat_ray.log.mirror import SEGMENTS
from inat_ray.log.run_log import EVENTS, read_history, read_stored
from inat_ray.run.folder import RunFolder
from inat_ray.run.result import read_result
from inat_ray.search.winner import winning_trial
from inat_ray.storage.disk import files_below
from inat_ray.storage.place import Place

State = Literal["running", "cut off", "finished", "failed", "damaged"]
"""`cut off`: it can be resumed; `failed`: it came to its end without a result."""

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """What a run folder holds. What it does not say is None."""

    path: Path
    name: str
    kind: str
    """train, random, bayes, grid, ablation; evaluate or prepare of a run without training."""
    state: State
    begun: float
    """Seconds since 1970."""
    changed: float
    """When something last happened: the newest of its files."""
    size: int
    """In bytes, on this machine's disk."""
    trials: int = 0
    """Of the search; 1 of a training."""
    planned_trials: int | None = None
    epochs: int = 0
    """Of all trials, the confirmation's and the winner's too."""
    seconds: float | None = None
    metric: str | None = None
    """By which the best is the best."""
    best: float | None = None
    """The metric of the winner, or so far of the leader, at its best epoch."""
    test_accuracy: float | None = None
    """Of the last look at the test set."""
    test_looks: int = 0
    pack: Path | None = None
    """That it says it used."""
    storage: str | None = None
    """Where else it is kept."""
    is_storage: bool = False
    """Whether the folder is a run's place in a storage that is on this disk."""
    experiment: Experiment | None = None
    problem: str | None = None
    """What of it cannot be read."""


def find_runs(folder: Path) -> list[Run]:
    """The runs below `folder`, or the one that it is itself; newest first.

    Raises UserError where there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    return sorted(map(read_run, _run_folders(folder)), key=lambda run: -run.begun)


def is_run(folder: Path) -> bool:
    run = RunFolder(folder)
    return any(p.exists() for p in (run.experiment, run.log / EVENTS, folder / SEGMENTS))


def read_run(folder: Path) -> Run:
    """A run in a few numbers, whatever of it is there."""
    run, problems = RunFolder(folder), list[str]()
    experiment = _try(lambda: load_experiment(run.experiment), problems)
    result = _try(lambda: read_result(run.result), problems) or {}
    is_storage = (folder / SEGMENTS).is_dir() and not (run.log / EVENTS).exists()
    history = _try(lambda: _history(run, is_storage=is_storage), problems) or History()
    storage = _try(lambda: _storage(run), problems)
    found = list(files_below(folder))
    changed = [status.st_mtime for _, status in found]
    state = state_of(history, result, running=is_being_written(run.log))
    return Run(
        path=folder,
        name=experiment.name if experiment else folder.name,
        kind=_kind(history, result),
        state="damaged" if problems and state != "running" else state,
        begun=history.run.time if history.started else min(changed, default=0.0),
        changed=max(changed, default=0.0),
        size=sum(status.st_size for _, status in found),
        trials=len(history.searched),
        planned_trials=history.planned_trials if history.started else None,
        epochs=history.epochs_trained,
        seconds=history.seconds if history.started else None,
        metric=history.run.metric if history.started else None,
        best=_best(history),
        test_accuracy=history.looks[-1].accuracy if history.looks else result.get("test_accuracy"),
        test_looks=len(history.looks),
        pack=_pack(result),
        storage=storage,
        is_storage=is_storage,
        experiment=experiment,
        problem="; ".join(problems) or None,
    )


def state_of(history: History, result: dict[str, Any], *, running: bool) -> State:
    """`over` is what has its result.json too, the last file that a run writes."""
    if running:
        return "running"
    if history.started is None:
        return "finished" if result else "cut off"
    if history.is_training:
        is_open = any(t.state in ("running", "interrupted") for t in history.searched)
    elif history.run.version == 1 and result:  # whose logs did not say that a search had ended
        is_open = bool(history.active or history.interrupted)
    else:
        is_open = history.unfinished
    if is_open or not history.searched:
        return "cut off"
    if winning_trial(history) is None:
        return "failed"
    return "finished" if result and _is_newest(result, history) else "cut off"


def _is_newest(result: dict[str, Any], history: History) -> bool:
    """Whether it tells of the trials that extended a search too, if any did."""
    search = result.get("search")
    told = search.get("trials") if isinstance(search, dict) else None
    return not history.extended or told == dict(+history.states)


def _run_folders(folder: Path) -> Iterator[Path]:
    if is_run(folder):
        yield folder
        return
    try:
        below = sorted(entry.path for entry in os.scandir(folder) if _is_open_folder(entry))
    except OSError:  # another user's: what cannot be entered has no run to show
        return
    for path in below:
        yield from _run_folders(Path(path))


def _is_open_folder(entry: "os.DirEntry[str]") -> bool:
    return entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")


def _try(read: Callable[[], T], problems: list[str]) -> T | None:
    """What `read` gives; None where it fails, with the reason among the problems."""
    try:
        return read()
    except (UserError, RunFailedError) as error:
        problems.append(str(error))
        return None


def _history(run: RunFolder, *, is_storage: bool) -> History | None:
    """None where the log has not begun."""
    if is_storage:
        return History.of(record for _, record in read_stored(Place.at(run.path)))
    return read_history(run.log) if (run.log / EVENTS).exists() else None


def _kind(history: History, result: dict[str, Any]) -> str:
    if history.started is not None:
        return history.run.method
    evaluated = any(key.endswith("_accuracy") for key in result)
    return "evaluate" if evaluated else "prepare" if result else "-"


def _best(history: History) -> float | None:
    winner = winning_trial(history) if history.started else None
    return None if winner is None else history.best_value(winner)


def _pack(result: dict[str, Any]) -> Path | None:
    """Of a result of training or prepare; an evaluation's does not say."""
    data = result.get("data", result)
    pack = data.get("pack") if isinstance(data, dict) else None
    return Path(pack) if isinstance(pack, str) else None


def _storage(run: RunFolder) -> str | None:
    place = run.storage
    return None if place is None else str(place)
