"""What a person may ask of a search after it began: another space or budget, another model, an end.

A request becomes records of the log, and every decision from there on is a function of them, too.
So a search that was steered is replayed and resumed like any other.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from inat_ray.config.distributions import canonical
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.faults import explain
from inat_ray.config.overrides import PARAMETERS, parse_setting, put
from inat_ray.config.search import MAX_TRIALS, SearchConfig
from inat_ray.config.space import SearchSpace, changed_space
from inat_ray.config.space_check import check_inside
from inat_ray.log.history import History
from inat_ray.log.records import (
    BUDGETS,
    JSON,
    BudgetName,
    Budgets,
    FinishAsked,
    SearchChanged,
    Steering,
    StopAsked,
    TrialPicked,
    in_words,
)
from inat_ray.search.agenda import parameter_kind, points_of, wanted_trials
from inat_ray.search.stopping import kept_back, present_budgets, spent_of
from inat_ray.search.winner import is_training_of

BUDGET_KEYS: dict[str, BudgetName] = {f"search.{name}": name for name in BUDGETS}

INSTEAD = "a new sweep with --warm-start RUN may have another one, and knows what this one found"


class Request(BaseModel):
    """What is asked, in the words of the command line."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    settings: tuple[str, ...] = ()
    """KEY=VALUE of --set, each of a parameter of the search or one of its budgets."""
    trials: Annotated[PositiveInt, Field(le=MAX_TRIALS)] | None = None
    stop: str | None = None
    """The trial that is to end."""
    pick: str | None = None
    """The trial whose configuration the kept model shall have, instead of the winner's."""
    finish: bool = False


NOTHING, FINISH = Request(), Request(finish=True)


def change_asked(settings: Sequence[str], *, trials: int | None) -> tuple[Request, list[str]]:
    """Returns what lines of --set, and --trials, ask of a search, and the lines about all else.

    Raises UserError where the number of trials is none that a search can have.
    """
    if trials is not None and not 1 <= trials <= MAX_TRIALS:
        raise UserError(f"--trials {trials}: 1 to {MAX_TRIALS:,} are allowed")
    for line in settings:
        if line.partition("=")[0].strip() == "search.trials":
            raise UserError(f"--set {line}: --trials N changes the number of trials of a run")
    about = [_is_about_search(line.partition("=")[0].strip()) for line in settings]
    others = [line for line, is_about in zip(settings, about, strict=True) if not is_about]
    return Request(settings=tuple(compress(settings, about)), trials=trials), others


def _is_about_search(key: str) -> bool:
    return key.startswith(PARAMETERS) or key in BUDGET_KEYS


def total_with(history: History, more: int) -> int:
    """Returns how many trials are planned, or a search that ended had, with `more` of them."""
    return more + (history.most_trials if history.ended is None else len(history.searched))


def answered(
    request: Request, *, experiment: Experiment, space: SearchSpace, history: History
) -> list[Steering]:
    """Returns the records that a request makes; `space` is the one that the search began with.

    Raises UserError where the search, as far as it is now, cannot do it.
    """
    _check_search(history)
    records: list[Steering] = []
    if request.settings or request.trials is not None:
        records.append(_change(request, experiment=experiment, begun=space, history=history))
    if request.stop is not None:
        records.append(stop_asked(request.stop, history))
    if request.pick is not None:
        records.append(_pick(request.pick, history))
    if request.finish:
        records.append(_finish(experiment, history))
    return records


def _check_search(history: History) -> None:
    if history.started is None:
        raise UserError("the search has not begun yet, so nothing of it can be changed")
    if history.is_training:
        raise UserError("the run is of train, so there is no search to change")


def _change(
    request: Request, *, experiment: Experiment, begun: SearchSpace, history: History
) -> SearchChanged:
    search, before = experiment.search, {**experiment.search.parameters, **history.changed}
    given = [parse_setting(line) for line in request.settings]
    changed = _changed_parameters(before, [each for each in given if each[0] not in BUDGET_KEYS])
    asked = {BUDGET_KEYS[key]: value for key, value in given if key in BUDGET_KEYS}
    held = present_budgets(search, history)
    budgets = _changed_budgets(request, search, history, asked)
    is_over = history.ended is not None or history.finish_asked
    as_planned = request.trials in (None, None if is_over else history.planned_trials)
    if not changed and not asked.keys() & budgets.keys() and as_planned:
        raise UserError(
            "--set, --trials: the search is as they say already; --resume RUN alone goes on with it"
        )
    space = changed_space(begun, experiment, {**history.changed, **changed}, where="--set")
    for name in changed:
        kind = history.run.parameters[name]
        if parameter_kind(space.parameters[name]) != kind:
            raise UserError(f"--set {PARAMETERS}{name}: its values so far have the type {kind}")
    check_inside(experiment, space, where="--set")
    wanted = request.trials or history.budget or wanted_trials(search)
    left = points_of(search, space, tried=history.points)
    most = None if left is None else len(history.searched) + left
    if asked and {*(held | budgets).values(), most} == {None} and wanted == MAX_TRIALS:
        raise UserError(
            f"--set search.{next(iter(asked))}: leaves the search no end; --trials N beside it"
            " gives it one"
        )
    return SearchChanged(
        parameters=changed,
        before={name: before[name] for name in changed},
        budget=request.trials,
        budgets=budgets,
        budgets_before={name: held[name] for name in budgets},
        trials=wanted if most is None else min(wanted, most),
        points=most + len(history.beyond) if most is not None and search.limits else None,
    )


def _changed_parameters(
    before: Mapping[str, Mapping[str, JSON]], given: Iterable[tuple[str, JSON]]
) -> dict[str, dict[str, JSON]]:
    """Returns the parameters that --set changes, each with its whole distribution."""
    now: dict[str, Any] = {name: dict(spec) for name, spec in before.items()}
    for key, value in given:
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


def _changed_budgets(
    request: Request, search: SearchConfig, history: History, asked: Mapping[BudgetName, JSON]
) -> Budgets:
    """Returns the budgets beside the trials that change; of a search that has ended, all of them.

    After the end, a number of trials lifts those that are not named beside it. Raises UserError
    where one is spent, so that nothing more would be trained.
    """
    try:
        wanted = SearchConfig.model_validate({**search.model_dump(), **asked})
    except ValidationError as error:
        raise UserError(f"--set search.{explain(error)}") from None
    held, is_over = present_budgets(search, history), history.ended is not None
    now: Budgets = {name: getattr(wanted, name) for name in asked}
    if not is_over:
        now = {name: value for name, value in now.items() if value != held[name]}
    else:
        now = (held if request.trials is None else dict.fromkeys(BUDGETS)) | now
    left = kept_back(search, history)
    if now and (spent := spent_of(held | now, history, kept_back=left)):
        raise UserError(_nothing_left(spent, (held | now)[spent], history))
    return now


def _nothing_left(spent: BudgetName, budget: object, history: History) -> str:
    had = {
        "epochs": f"had {history.epochs_spent} epochs",
        "time": f"taken {history.seconds:.0f} s",
        "target": f"reached {history.turned(history.standings.highest):.4g}",
    }
    if history.ended is None:
        return f"search.{spent} {budget}: the search has {had[spent]}; --finish RUN ends it now"
    return (
        f"search.{spent} {budget}: is spent, since the search has {had[spent]}; --set"
        f" search.{spent}=... with another value, or null, lets it go on"
    )


def _pick(name: str, history: History) -> TrialPicked:
    if history.look is None:
        raise UserError(f"--pick {name}: the run is not finished yet; --resume RUN finishes it")
    trial = history.trials.get(name)
    if trial is None or trial.purpose != "search":
        first, last = history.searched[0].trial_id, history.searched[-1].trial_id
        raise UserError(
            f"--pick {name}: the search has no trial of that name; its trials are {first} to {last}"
        )
    if history.score_of(trial) is None:
        reason = trial.error or trial.state
        raise UserError(f"--pick {name}: has no result ({reason}); pick a trial that has one")
    final = history.final
    if final and is_training_of(final, trial) and history.best_value(final) is not None:
        raise UserError(f"--pick {name}: the run's model is of that trial already")
    return TrialPicked(trial_id=name)


def stop_asked(name: str, history: History) -> StopAsked:
    """Returns the record for the end of a trial. Raises UserError where there is none to end."""
    _check_search(history)
    trial = history.trials.get(name)
    if trial is None:
        raise UserError(f"--stop {name}: the run has no trial of that name")
    if trial.purpose != "search":
        raise UserError(f"--stop {name}: is no trial of the search, and trains to its end")
    if trial.is_over:
        raise UserError(
            f"--stop {name}: has ended already: {in_words(trial.state)},"
            f" after {len(trial.epochs)} epochs"
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
