"""What a sweep is to do: a new run, one that goes on, or one that is extended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.inside import check_inside
from inat_ray.config.load import load_experiment, override
from inat_ray.config.space import SearchSpace, search_space
from inat_ray.log.run_log import read_history
from inat_ray.run.folder import RunFolder, check_free
from inat_ray.tuning.resume import (
    check_extendable,
    check_resumable,
    same_experiment,
    stored_experiment,
)

Options = Mapping[str, tuple[str, Any]]
"""Dotted key -> (name of the command-line option, value)."""


@dataclass(frozen=True)
class Plan:
    """A sweep that is known to be possible, as far as that can be told without the data."""

    experiment: Experiment
    space: SearchSpace
    folder: Path | None
    """None: the default one, of a new run."""
    is_new: bool = True
    more_trials: int = 0
    """That an extension adds."""
    warm_start: tuple[Path, ...] = ()
    """Runs whose trials the searcher is told of."""
    notes: tuple[str, ...] = ()
    """What the person should know before it begins."""


def new_plan(
    path: Path,
    *,
    settings: Sequence[str],
    options: Options,
    out: Path | None,
    overwrite: bool,
    warm_start: Sequence[Path] = (),
) -> Plan:
    """A run of the experiment in `path`. Raises UserError where something does not fit."""
    notes: list[str] = []
    experiment = load_experiment(path, settings=settings, options=options, tell=notes.append)
    space = search_space(experiment, where=str(path))
    if not space.parameters:
        raise UserError(f"{path}: search.parameters: is empty; name at least one to vary")
    check_inside(experiment, space, where=str(path))
    if warm_start and experiment.search.method != "bayes":
        raise UserError(
            f"--warm-start: only search.method bayes learns from other runs;"
            f" this one is {experiment.search.method}"
        )
    if out is not None:
        check_free(out, overwrite=overwrite)
    return Plan(experiment, space, out, warm_start=tuple(warm_start), notes=tuple(notes))


def resumed_plan(
    folder: Path, *, path: Path | None, settings: Sequence[str], options: Options
) -> Plan:
    """The run in `folder` from where it was cut off.

    Raises UserError where it is complete, or where another experiment is asked for.
    """
    experiment = _own_experiment(folder, "--resume", path=path, settings=settings, options=options)
    run = RunFolder(folder)
    if run.events.exists():
        check_resumable(run, read_history(run.log))
    return Plan(
        experiment, search_space(experiment, where=str(run.experiment)), folder, is_new=False
    )


def extended_plan(
    folder: Path,
    *,
    trials: int | None,
    path: Path | None,
    settings: Sequence[str],
    options: Options,
) -> Plan:
    """The run in `folder` with further trials.

    Raises UserError where it has not come to its end, or where another experiment is asked for.
    """
    if trials is None or trials < 1:
        raise UserError(f"--extend {folder}: --trials N says how many trials to add; 1 or more")
    experiment = _own_experiment(folder, "--extend", path=path, settings=settings, options=options)
    run = RunFolder(folder)
    if not run.events.exists():
        raise UserError(f"--extend {folder}: holds no run")
    check_extendable(run, read_history(run.log))
    space = search_space(experiment, where=str(run.experiment))
    return Plan(experiment, space, folder, is_new=False, more_trials=trials)


def _own_experiment(
    folder: Path, option: str, *, path: Path | None, settings: Sequence[str], options: Options
) -> Experiment:
    """The run's experiment, with what may change changed."""
    run = RunFolder(folder)
    stored = stored_experiment(run, option=option)
    if path is None:
        now = override(stored, settings=settings, options=options)
    else:
        now = load_experiment(path, settings=settings, options=options)
    same_experiment(run, now, option=option)
    if now.resources.storage_path != stored.resources.storage_path:
        raise UserError(
            f"{option} {run.path}: resources.storage_path: stays what it was when the run began:"
            f" {stored.resources.storage_path or 'none'}"
        )
    return now
