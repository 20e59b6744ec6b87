"""Warm start: the trials of other runs, told to the searcher of a new one."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.overrides import KIND
from inat_ray.config.space import SEED, SearchSpace
from inat_ray.config.trial import value_at, with_parameters
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import JSON, TrialKnown
from inat_ray.run.contents import read_whole
from inat_ray.run.folder import RUNS
from inat_ray.run.listing import run_folders

AUTO = Path("auto")
"""In place of a run: all runs beside the new one that have something to tell."""


@dataclass(frozen=True)
class WarmStart:
    """What another run tells a new search."""

    path: Path
    trials: tuple[TrialKnown, ...] = ()
    searched: int = 0
    """Trials of the other search."""
    notes: tuple[str, ...] = ()
    """What was left out and why, and what may make scores incomparable."""


def warm_starts(
    sources: Sequence[Path], experiment: Experiment, space: SearchSpace, *, out: Path | None
) -> list[WarmStart]:
    """Reads the sources of the run in `out` (None: the default folder), each run once.

    Raises UserError as `warm_start`; a run that AUTO stands for is then left out with that reason.
    """
    found: dict[Path, WarmStart] = {}
    for source in sources:
        for path in _beside(out) if source == AUTO else [source]:
            if path.resolve() in found:
                continue
            try:
                known = warm_start(path, experiment, space)
            except (UserError, RunFailedError) as error:
                if source != AUTO:
                    raise
                reason = str(error).removeprefix(_named(path))
                known = WarmStart(path, notes=(reason,))
            found[path.resolve()] = known
    return list(found.values())


def _beside(out: Path | None) -> Iterator[Path]:
    folder = RUNS if out is None else out.parent
    found = run_folders(folder) if folder.is_dir() else ()
    return (path for path in found if out is None or path.resolve() != out.resolve())


def warm_start(path: Path, experiment: Experiment, space: SearchSpace) -> WarmStart:
    """Reads the trials of the run in `path` that are points of `space`.

    A parameter that the other search did not vary has the value of that run's experiment; if
    `space` does not have that value, all trials are told without it. A trial with another kind of
    model, or with a value of its own that `space` does not have, is left out. Raises UserError if
    the run is no search, a search by another metric, or one that varied nothing of `space`.
    """
    other, history = read_whole(path)
    _check_comparable(path, experiment, space, history)
    left_out, told = Counter[str](), []
    for trial in history.searched:
        found = _settings(other, trial, names=space.parameters)
        point, reason = _point(found, trial, space, kind=experiment.model.kind)
        if reason is not None:
            left_out[reason] += 1
        elif trial.epochs:
            told.append(
                TrialKnown(
                    source=f"{path} {trial.trial_id}",
                    parameters=point,
                    values=trial.values(history.run.metric),
                    state=trial.state,
                )
            )
    notes = [f"{count} left out: {reason}" for reason, count in left_out.items()]
    if told:
        notes += _what_is_missing(told, history, space)
        notes += _other_circumstances(experiment, other)
    return WarmStart(path, tuple(told), searched=len(history.searched), notes=tuple(notes))


def _what_is_missing(
    told: Sequence[TrialKnown], history: History, space: SearchSpace
) -> Iterator[str]:
    """Yields the parameters that the trials are told without, and those that this space lacks."""
    without = [
        name
        for name in space.parameters
        if any(name not in t.parameters and space.exists(name, t.parameters) for t in told)
    ]
    if without:
        yield f"told without {', '.join(without)}: fixed there, outside of this space"
    if surplus := [name for name in history.run.parameters if name not in space.parameters]:
        yield f"varied there alone: {', '.join(surplus)}"


def _named(path: Path) -> str:
    return f"--warm-start {path}: "


def _check_comparable(
    path: Path, experiment: Experiment, space: SearchSpace, history: History
) -> None:
    metric = experiment.search.metric.name
    if history.started is None or history.is_training:
        raise UserError(f"{_named(path)}holds no search")
    if history.run.metric != metric:
        raise UserError(
            f"{_named(path)}its metric is {history.run.metric}; this search's is {metric}"
        )
    if space.parameters.keys().isdisjoint(history.run.parameters):
        raise UserError(f"{_named(path)}varies no parameter of this search")


def _settings(
    other: Experiment, trial: TrialHistory, *, names: Mapping[str, object]
) -> dict[str, JSON]:
    """Returns the values that a trial's training had, as far as its kind of model has them."""
    try:
        tree = with_parameters(other, trial.parameters).model_dump(mode="json", exclude={"search"})
    except (ValidationError, KeyError):  # of an earlier version, with settings that are gone
        return {}
    values = {name: trial.parameters.get(name, value_at(tree, name)) for name in (KIND, *names)}
    return values | {SEED: trial.seed}


def _point(
    found: Mapping[str, JSON], trial: TrialHistory, space: SearchSpace, *, kind: str
) -> tuple[dict[str, JSON], str | None]:
    """Returns a trial's point in `space`, and why it is none of its points."""
    if KIND not in space.parameters and found.get(KIND) != kind:
        return {}, f"their {KIND} is {found.get(KIND)}"
    point: dict[str, JSON] = {}
    for name, parameter in space.parameters.items():
        if not space.exists(name, point):
            continue
        if parameter.contains(found.get(name)):
            point[name] = found[name]
        elif name in trial.parameters or name == KIND:
            return {}, f"their {name} is outside of this space"
    return point, None


def _other_circumstances(experiment: Experiment, other: Experiment) -> list[str]:
    """Names the settings of the data that may make scores incomparable."""
    here, there = (e.model_dump(mode="json")["data"] for e in (experiment, other))
    differing = [
        f"data.{key}: {_text(there[key])} there, {_text(here[key])} here"
        for key in here
        if here[key] != there.get(key) and key != "cache"
    ]
    return [f"scores may not be comparable: {'; '.join(differing)}"] if differing else []


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else repr(value)
