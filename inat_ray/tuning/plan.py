"""Plans a sweep: a new run, or one that is resumed, perhaps to do something else than before."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inat_ray.config.code import checked_code
from inat_ray.config.difference import differences
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import Source, label, load_experiment, override
from inat_ray.config.space import SearchSpace, search_space
from inat_ray.config.space_check import check_inside
from inat_ray.config.variants import with_room_for_all
from inat_ray.log.history import History
from inat_ray.log.records import SearchChanged, Steering
from inat_ray.log.run_log import read_history
from inat_ray.run.claim import check_free
from inat_ray.run.code import admitted
from inat_ray.run.folder import RunFolder
from inat_ray.run.result import read_result
from inat_ray.run.state import state_of
from inat_ray.search.agenda import present_space
from inat_ray.search.searchers import SEARCHERS
from inat_ray.search.steering import FINISH, NOTHING, Request, answered, is_searching

Options = Mapping[str, tuple[str, Any]]
"""Dotted key -> (name of the command-line option, value)."""


@dataclass(frozen=True)
class Plan:
    """A sweep that was found possible, as far as that can be told without the data."""

    experiment: Experiment
    space: SearchSpace
    folder: Path | None
    """None: the default one, of a new run."""
    is_new: bool = True
    request: Request = NOTHING
    """What a person asks of a search that goes on."""
    present: SearchSpace | None = None
    """The space as it is now, if the search goes on: `space` is the one that it began with."""
    warm_start: tuple[Path, ...] = ()
    """Other runs that the searcher learns from."""
    notes: tuple[str, ...] = ()
    """What the person should know before it begins."""


def new_plan(
    source: Source,
    *,
    settings: Sequence[str],
    options: Options,
    out: Path | None = None,
    overwrite: bool = False,
    warm_start: Sequence[Path] = (),
) -> Plan:
    """Plans a new run of an experiment. Raises UserError if something does not fit."""
    notes: list[str] = []
    where = label(source)
    experiment = load_experiment(source, settings=settings, options=options, tell=notes.append)
    experiment = with_room_for_all(admitted(experiment, source), where=where)
    space = search_space(experiment, where=where)
    if not space.parameters:
        raise UserError(f"{where}: search.parameters: is empty; name at least one to vary")
    check_inside(experiment, space, where=where)
    if warm_start and not SEARCHERS[experiment.search.method].learns:
        learning = ", ".join(name for name, searcher in SEARCHERS.items() if searcher.learns)
        raise UserError(
            f"--warm-start: only search.method {learning} learns from other runs;"
            f" this one is {experiment.search.method}"
        )
    if out is not None:
        check_free(out, overwrite=overwrite)
    return Plan(experiment, space, out, warm_start=tuple(warm_start), notes=tuple(notes))


def resumed_plan(
    folder: Path,
    *,
    path: Path | None = None,
    settings: Sequence[str] = (),
    options: Options,
    request: Request = NOTHING,
    option: str = "--resume",
) -> Plan:
    """Plans to continue the run in `folder`, where it was cut off or with more to do.

    `request` is what a person asks of the search; `settings` may change what is about the machine.
    Raises UserError if the run is complete and gets no more to do, or if another experiment is
    asked for.
    """
    run = RunFolder(folder)
    experiment = _own_experiment(run, option, path=path, settings=settings, options=options)
    space = search_space(experiment, where=str(run.experiment))
    history = _history_of_search(run, option=option) if run.events.exists() else History()
    state = state_of(history, read_result(run.result) or {}, running=False)
    if request.pick is not None and state != "finished":
        raise UserError(
            f"--pick {request.pick}: the run in {folder} is {state}; a trial is picked from one"
            " that is finished"
        )
    if request in (NOTHING, FINISH) and state == "finished":
        raise UserError(
            f"{option} {folder}: the sweep is complete; --resume {folder} --trials N adds to it, if"
            f" N is above {len(history.searched)}"
        )
    if request == FINISH:
        if history.leader is None:
            raise UserError(f"{option} {folder}: no trial has a result; --resume {folder} goes on")
        if history.finish_asked or not is_searching(experiment, history):
            request = NOTHING  # only the winner is left
    steering: list[Steering] = []
    if request != NOTHING:
        steering = answered(request, experiment=experiment, space=space, history=history)
    notes = [note for record in steering for note in _notes(record, history, option=option)]
    for record in steering:
        history.add(record)
    present = present_space(experiment, space)(history)
    return Plan(
        experiment,
        space,
        folder,
        is_new=False,
        request=request,
        present=present,
        notes=tuple(notes),
    )


def _notes(record: Steering, history: History, *, option: str) -> Iterator[str]:
    """Raises UserError if a search that has ended would get nothing to do."""
    if isinstance(record, SearchChanged) and record.trials <= (begun := len(history.searched)):
        if history.ended is not None:
            raise UserError(
                f"{option}: the search has ended after {begun} trials, and is to have"
                f" {record.trials}; --trials above {begun} gives it more to do, or more values"
                " where every point was tried"
            )
        yield f"{begun} trials have begun: they go on, and no other one begins"


def _own_experiment(
    run: RunFolder, option: str, *, path: Path | None, settings: Sequence[str], options: Options
) -> Experiment:
    """Returns the run's own experiment, with changes to what may change.

    `path` is an experiment that was named beside the run; it must be the same.
    """
    if not run.experiment.exists():
        raise UserError(f"{option} {run.path}: holds no run")
    stored = load_experiment(run.experiment)
    if path is None:
        now = override(stored, settings=settings, options=options)
    else:
        now = admitted(load_experiment(path, settings=settings, options=options), path)
        now = with_room_for_all(now, where=str(path))
    stored, now = checked_code(stored), checked_code(now)
    if found := differences(stored, now):
        raise UserError(
            f"{option} {run.path}: goes on with the run's own experiment, and this one differs:"
            f" {'; '.join(found)}; only settings of resources and device, --data for images that"
            " were moved, --trials and other budgets, and bounds and values of search.parameters"
            f" may change; for anything else, a new sweep with --warm-start {run.path} knows what"
            " this one found"
        )
    if now.resources.storage_path != stored.resources.storage_path:
        raise UserError(
            f"{option} {run.path}: resources.storage_path: stays what it was when the run began:"
            f" {stored.resources.storage_path or 'none'}"
        )
    return now


def _history_of_search(run: RunFolder, *, option: str) -> History:
    history = read_history(run.log)
    if history.is_training:
        raise UserError(f"{option} {run.path}: is a run of train; train --resume continues it")
    return history
