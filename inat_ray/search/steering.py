"""What a person may ask of a search after it began: another space, other trials, an earlier end.

A request becomes records of the log, and every decision from there on is a function of them, too.
So a search that was steered is replayed and resumed like any other.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from inat_ray.config.distributions import canonical
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.overrides import PARAMETERS, parse_setting, put
from inat_ray.config.search import MAX_TRIALS
from inat_ray.config.space import SearchSpace, changed_space
from inat_ray.config.space_check import check_inside
from inat_ray.log.history import History
from inat_ray.log.records import JSON, FinishAsked, SearchChanged, Steering, StopAsked
from inat_ray.search.agenda import parameter_kind, points_of, wanted_trials

INSTEAD = "a new sweep with --warm-start RUN may have another one, and knows what this one found"


class Request(BaseModel):
    """What is asked, in the words of the command line."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    settings: tuple[str, ...] = ()
    """KEY=VALUE of --set, each of a parameter of the search."""
    trials: Annotated[PositiveInt, Field(le=MAX_TRIALS)] | None = None
    stop: str | None = None
    """The trial that is to end."""
    finish: bool = False


NOTHING, FINISH = Request(), Request(finish=True)


def change_asked(settings: Sequence[str], *, trials: int | None) -> tuple[Request, list[str]]:
    """Returns what lines of --set, and --trials, ask of a search, and the lines about all else.

    Raises UserError where the number of trials is none that a search can have.
    """
    if trials is not None and not 1 <= trials <= MAX_TRIALS:
        raise UserError(f"--trials {trials}: 1 to {MAX_TRIALS:,} are allowed")
    about = [line.strip().startswith(PARAMETERS) for line in settings]
    others = [line for line, is_about in zip(settings, about, strict=True) if not is_about]
    return Request(settings=tuple(compress(settings, about)), trials=trials), others


def total_with(history: History, more: int) -> int:
    """Returns how many trials are planned, or a search that ended had, with `more` of them."""
    return more + (history.planned_trials if history.ended is None else len(history.searched))


def answered(
    request: Request, *, experiment: Experiment, space: SearchSpace, history: History
) -> list[Steering]:
    """Returns the records that a request makes; `space` is the one that the search began with.

    Raises UserError where the search, as far as it is now, cannot do it.
    """
    if history.started is None or history.is_training:
        raise UserError("there is no search that has begun, so nothing of it can be changed")
    records: list[Steering] = []
    if request.settings or request.trials is not None:
        records.append(_change(request, experiment=experiment, begun=space, history=history))
    if request.stop is not None:
        records.append(_stop(request.stop, history))
    if request.finish:
        records.append(_finish(experiment, history))
    return records


def _change(
    request: Request, *, experiment: Experiment, begun: SearchSpace, history: History
) -> SearchChanged:
    search, before = experiment.search, {**experiment.search.parameters, **history.changed}
    changed = _changed_parameters(before, request.settings)
    is_over = history.ended is not None or history.finish_asked
    if not changed and request.trials in (None, None if is_over else history.planned_trials):
        raise UserError("--set, --trials: the search is as they say already")
    space = changed_space(begun, experiment, {**history.changed, **changed}, where="--set")
    for name in changed:
        kind = history.run.parameters[name]
        if parameter_kind(space.parameters[name]) != kind:
            raise UserError(f"--set {PARAMETERS}{name}: its values so far have the type {kind}")
    check_inside(experiment, space, where="--set")
    wanted = request.trials or history.budget or wanted_trials(search)
    left = points_of(search, space, tried=history.points)
    most = None if left is None else len(history.searched) + left
    return SearchChanged(
        parameters=changed,
        before={name: before[name] for name in changed},
        budget=request.trials,
        trials=wanted if most is None else min(wanted, most),
        points=most + len(history.beyond) if most is not None and search.limits else None,
    )


def _changed_parameters(
    before: Mapping[str, Mapping[str, JSON]], lines: Iterable[str]
) -> dict[str, dict[str, JSON]]:
    """Returns the parameters that lines of --set change, each with its whole distribution."""
    now: dict[str, Any] = {name: dict(spec) for name, spec in before.items()}
    for line in lines:
        key, value = parse_setting(line)
        if not key.startswith(PARAMETERS):
            raise UserError(f"--set {key}: stays as it is while a search goes on; {INSTEAD}")
        put({"search": {"parameters": now}}, key, value)
        for name in before.keys() ^ now.keys():
            raise UserError(f"--set {PARAMETERS}{name}: a search keeps its parameters; {INSTEAD}")
    for name, spec in now.items():
        if not isinstance(spec, Mapping):
            raise UserError(f"--set {PARAMETERS}{name}: {spec}: a distribution is allowed")
        if spec.get("when") != before[name].get("when"):
            raise UserError(f"--set {PARAMETERS}{name}.when: a condition stays; {INSTEAD}")
    return {n: spec for n, spec in now.items() if canonical(spec) != canonical(before[n])}


def _stop(name: str, history: History) -> StopAsked:
    trial = history.trials.get(name)
    if trial is None:
        raise UserError(f"--stop {name}: the run has no trial of that name")
    if trial.purpose != "search":
        raise UserError(f"--stop {name}: is no trial of the search, and trains to its end")
    if trial.is_over:
        raise UserError(
            f"--stop {name}: has ended already: {trial.state}, after {len(trial.epochs)} epochs"
        )
    if trial.stop_after is not None:
        raise UserError(f"--stop {name}: was asked for already; it ends after its present epoch")
    return StopAsked(trial_id=name, epochs=len(trial.epochs) + (trial.state == "running"))


def _finish(experiment: Experiment, history: History) -> FinishAsked:
    if history.finish_asked:
        raise UserError("--finish: was asked for already")
    if not is_searching(experiment, history):
        raise UserError("--finish: the search has ended already, and its winner is under way")
    return FinishAsked()


def is_searching(experiment: Experiment, history: History) -> bool:
    """Returns whether there is a search, or a confirmation, that could be ended."""
    is_trained = history.final is not None and history.final.state == "running"
    return history.ended is None or (experiment.search.confirm is not None and not is_trained)
