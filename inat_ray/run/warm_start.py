"""Warm start: the trials of other runs, told to the searcher of a new one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.space import SearchSpace, value_at
from inat_ray.log.history import History
from inat_ray.log.records import JSON, TrialKnown
from inat_ray.run.contents import read_whole


@dataclass(frozen=True)
class WarmStart:
    """The trials that another run tells, and sentences on what does not fit."""

    trials: list[TrialKnown]
    notes: list[str]


def warm_start(path: Path, experiment: Experiment, space: SearchSpace) -> WarmStart:
    """Reads the trials of the run in `path` as far as `space` has their parameters.

    A parameter that the other search did not vary has the value of that run's experiment. Raises
    UserError if the run is no search, or a search by another metric.
    """
    other, history = read_whole(path)
    _check_metric(path, experiment, history)
    tree = other.model_dump(mode="json")
    told, unfit = [], dict.fromkeys(space.parameters, 0)
    for trial in history.searched:
        values = {name: trial.parameters.get(name, value_at(tree, name)) for name in unfit}
        fits = {name: v for name, v in values.items() if space.parameters[name].contains(v)}
        for name in values.keys() - fits.keys():
            unfit[name] += 1
        if fits and trial.epochs:
            told.append(
                TrialKnown(
                    source=f"{history.run.name} {trial.trial_id}",
                    parameters=space.existing(fits),
                    values=trial.values(history.run.metric),
                    state=trial.state,
                )
            )
    notes = [f"{path}: {len(told)} of {len(history.searched)} trials are told to the searcher"]
    notes += _what_does_not_fit(unfit, history, space)
    notes += _other_circumstances(experiment, other)
    return WarmStart(trials=told, notes=notes)


def _check_metric(path: Path, experiment: Experiment, history: History) -> None:
    metric = experiment.search.metric.name
    if history.started is None or history.is_training:
        raise UserError(f"--warm-start {path}: holds no search")
    if history.run.metric != metric:
        raise UserError(
            f"--warm-start {path}: its metric is {history.run.metric}; this search's is {metric}"
        )


def _what_does_not_fit(unfit: Mapping[str, int], history: History, space: SearchSpace) -> list[str]:
    notes = [
        f"{name}: {count} trials have a value that this space has not; it is left out of them"
        for name, count in unfit.items()
        if count
    ]
    surplus = [name for name in history.run.parameters if name not in space.parameters]
    if surplus:
        notes.append(f"{', '.join(surplus)}: varied there and not here; not taken into account")
    return notes


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
