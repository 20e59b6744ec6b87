"""The runs below a folder, each in a few numbers; damaged ones are listed as such.

Folders below a run are not searched, nor are hidden ones, and links are not followed.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.log.costs import costs_of
from inat_ray.log.history import History
from inat_ray.log.records import Steering
from inat_ray.run.contents import RunContents, read_contents
from inat_ray.run.folder import RunFolder
from inat_ray.run.state import State
from inat_ray.search.winner import winning_trial
from inat_ray.storage.disk import files_below


@dataclass(frozen=True)
class Run:
    """A run in a few numbers; None for what its folder does not tell."""

    path: Path
    name: str
    kind: str
    """train, random, bayes, grid, ablation; evaluate or prepare of a run without training."""
    state: State
    begun: float
    """Seconds since 1970."""
    changed: float
    """The time of its newest file."""
    size: int
    """Bytes on this machine's disk."""
    trials: int = 0
    """Trials of the search; 1 for a training."""
    planned_trials: int | None = None
    epochs: int = 0
    """Epochs of all trials, the confirmation's and the winner's included."""
    seconds: float | None = None
    metric: str | None = None
    """The metric that the run optimizes."""
    best: float | None = None
    """The score of the winner, or of the leader so far."""
    costs: dict[str, float] = field(default_factory=dict)
    """What is known of that trial's costs, by name."""
    steering: list[tuple[int, Steering]] = field(default_factory=list)
    """As in `History`."""
    test_accuracy: float | None = None
    """The accuracy in the last look at the test set."""
    test_looks: int = 0
    pack: Path | None = None
    """The pack that its result names."""
    storage: str | None = None
    """The run's place in its storage."""
    is_storage: bool = False
    """Whether the folder is a run's place in a storage that is on this disk."""
    experiment: Experiment | None = None
    problem: str | None = None
    """Why a part of it cannot be read."""


def find_runs(folder: Path) -> list[Run]:
    """Returns the runs below `folder`, or the one that it is itself; newest first.

    Raises UserError if there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    return sorted(map(read_run, run_folders(folder)), key=lambda run: -run.begun)


def read_run(folder: Path, contents: RunContents | None = None) -> Run:
    """Reads a run in a few numbers, whatever of it is there; `contents` if that is read already."""
    found = contents or read_contents(folder)
    history, result = found.history, found.result
    files = list(files_below(folder))
    changed = [status.st_mtime for _, status in files]
    begun = history.started
    winner = winning_trial(history) if begun else None
    return Run(
        path=folder,
        name=found.experiment.name if found.experiment else folder.name,
        kind=_kind(history, result),
        state=found.state,
        begun=begun.time if begun else min(changed, default=0.0),
        changed=max(changed, default=0.0),
        size=sum(status.st_size for _, status in files),
        trials=len(history.searched),
        planned_trials=history.planned_trials if begun else None,
        epochs=history.epochs_trained,
        seconds=history.seconds if begun else None,
        metric=begun.metric if begun else None,
        best=None if winner is None else history.score_value(winner),
        costs={} if winner is None else costs_of(winner),
        steering=history.steering,
        test_accuracy=history.looks[-1].accuracy if history.looks else result.get("test_accuracy"),
        test_looks=len(history.looks),
        pack=_pack(result),
        storage=None if found.storage is None else str(found.storage),
        is_storage=found.is_storage,
        experiment=found.experiment,
        problem="; ".join(map(str, found.problems.values())) or None,
    )


def run_folders(folder: Path) -> Iterator[Path]:
    """Yields the runs below a folder, or the one that it is itself, in order of their paths."""
    if RunFolder(folder).holds_a_run:
        yield folder
        return
    try:
        folders = (entry for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
        below = sorted(entry.path for entry in folders if not entry.name.startswith("."))
    except OSError:  # another user's: what cannot be entered has no run to show
        return
    for path in below:
        yield from run_folders(Path(path))


def _kind(history: History, result: dict[str, Any]) -> str:
    if history.started is not None:
        return history.run.method
    evaluated = any(key.endswith("_accuracy") for key in result)
    return "evaluate" if evaluated else "prepare" if result else "-"


def _pack(result: dict[str, Any]) -> Path | None:
    """Returns the pack of a training or of `prepare`; the result of `evaluate` names none."""
    data = result.get("data", result)
    pack = data.get("pack") if isinstance(data, dict) else None
    return Path(pack) if isinstance(pack, str) else None
