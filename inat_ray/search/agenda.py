"""Decides what is trained next, as a pure function of the log.

A piece of work is a trial from where it stands to its next stop: a new one, one that is promoted
from a rung, or one that was cut off with the process that ran it. So starting, promoting, and
resuming are one mechanism, and a search can be replayed and simulated from its log.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Literal

import numpy as np

from inat_ray.config.distributions import Numeric, Parameter, canonical
from inat_ray.config.experiment import Experiment
from inat_ray.config.search import MAX_TRIALS, SearchConfig
from inat_ray.config.space import SearchSpace, changed_space
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import (
    JSON,
    LOG_VERSION,
    AnyRecord,
    ParameterKind,
    PointBeyond,
    Purpose,
    Reason,
    RunStarted,
    TrialResumed,
    TrialStarted,
)
from inat_ray.search.limits import MOST_IN_A_ROW, Beyond, Limit, no_limit
from inat_ray.search.schedulers import SCHEDULERS, next_best
from inat_ray.search.searchers import SEARCHERS, Point
from inat_ray.search.stopping import FINALISTS, is_late, present_budgets, set_budgets, spent_budget
from inat_ray.search.study import distinct_configurations

DEFAULT_TRIALS = 10
"""The number of trials of a random or Bayesian search that names no budget."""


@dataclass(frozen=True)
class Work:
    """A trial, and where it continues."""

    trial_id: str
    purpose: Purpose
    seed: int
    parameters: dict[str, JSON]
    planned_epochs: int
    epochs_done: int = 0
    checkpoint: str | None = None
    """The checkpoint of the last epoch done, relative to the run folder."""
    is_new: bool = True

    def record(self) -> AnyRecord:
        """Returns the record for the beginning of the work."""
        if self.is_new:
            return TrialStarted(
                trial_id=self.trial_id,
                purpose=self.purpose,
                seed=self.seed,
                parameters=self.parameters,
                epochs=self.planned_epochs,
            )
        return TrialResumed(trial_id=self.trial_id, epochs=self.epochs_done)


WAIT: Literal["wait"] = "wait"
"""Nothing can begin now, but what is running may change that."""

Next = Work | Literal["wait"] | Reason
"""What to do next; a reason if all is done."""

Agenda = Callable[[History], Next | Beyond]
"""Decides from a history; `next_work` follows it past the points that are beyond the limits."""


def next_work(agenda: Agenda, history: History, record: Callable[[PointBeyond], object]) -> Next:
    """Returns what to do next. Points beyond the limits go to `record`, which adds to `history`."""
    while isinstance(found := agenda(history), Beyond):
        record(found.record())
    return found


def search_agenda(experiment: Experiment, space: SearchSpace, limit: Limit = no_limit) -> Agenda:
    """Returns the agenda of the search: what was cut off, then promotions, then new trials."""
    search, stopping = experiment.search, experiment.search.early_stopping
    present = present_space(experiment, space)

    def agenda(history: History) -> Next | Beyond:
        if reason := history.ended or spent_budget(search, history):
            return reason
        if history.interrupted:
            return carried_on(next(iter(history.interrupted.values())))
        if promoted := SCHEDULERS[stopping.kind].promote(stopping, history):
            return carried_on(history.trials[promoted])
        new = _new_trial(experiment, present(history), history, limit=limit)
        if isinstance(new, Work | Beyond):
            return new
        if promoted := _last_resort(search, history):
            return carried_on(history.trials[promoted])
        return WAIT if history.active else new

    return agenda


def present_space(experiment: Experiment, begun: SearchSpace) -> Callable[[History], SearchSpace]:
    """Returns what finds the space by a history: as the search began, and as it was changed since.

    It is made anew only after a change.
    """

    @lru_cache(maxsize=4)
    def changed(specs: str) -> SearchSpace:
        return changed_space(begun, experiment, json.loads(specs))

    return lambda history: changed(canonical(history.changed)) if history.changed else begun


def _last_resort(search: SearchConfig, history: History) -> str | None:
    """Returns a paused trial that continues because there is nothing else to do.

    While a budget of epochs, time, or a target is open, any will do; otherwise only the best of a
    rung, and only once nothing runs whose result might promote a better one.
    """
    if any(budget is not None for budget in present_budgets(search, history).values()):
        return next_best(history, most=None)
    return None if history.active else next_best(history, most=1)


def carried_on(trial: TrialHistory) -> Work:
    """Returns the work that continues a trial after its last epoch in the log."""
    newest = trial.epochs[-1] if trial.epochs else None
    return Work(
        trial_id=trial.trial_id,
        purpose=trial.purpose,
        seed=trial.seed,
        parameters=trial.parameters,
        planned_epochs=trial.planned_epochs,
        epochs_done=newest.epoch if newest else 0,
        checkpoint=newest.checkpoint if newest else None,
        is_new=False,
    )


def _new_trial(
    experiment: Experiment, space: SearchSpace, history: History, *, limit: Limit
) -> Work | Beyond | Reason:
    """Returns a trial of the next point, or that it is beyond the limits, or why there is none."""
    number = len(history.searched)
    if number >= history.most_trials:
        return "trials"
    if history.beyond_in_a_row >= MOST_IN_A_ROW:
        return "limits"
    parameters = suggested(experiment.search, space, history, seed=experiment.seed)
    if parameters is None:
        return "points"
    if beyond := limit(parameters):
        return beyond
    # The changes of an ablation are compared with the same seed, or luck would be compared too.
    seed = experiment.seed if experiment.search.method == "ablation" else experiment.seed + number
    return Work(
        trial_id=f"trial_{number:04d}",
        purpose="search",
        seed=int(parameters.get("seed", seed)),
        parameters=parameters,
        planned_epochs=int(parameters.get("recipe.epochs", experiment.recipe.epochs)),
    )


def suggested(
    search: SearchConfig, space: SearchSpace, history: History, *, seed: int
) -> Point | None:
    """Returns the next point; None if every one has been suggested."""
    searcher = SEARCHERS[search.method]
    first = () if searcher.is_exhaustive else space.first
    if (point := next((p for p in first if not history.has_tried(p)), None)) is not None:
        return point
    rng = np.random.default_rng([seed, history.suggested])
    return searcher.suggest(search, space, history, rng)


def to_confirm(experiment: Experiment, history: History) -> list[TrialHistory]:
    """Returns the best trials of a finished search, each with a configuration of its own."""
    if experiment.search.confirm is None:
        return []
    return distinct_configurations(history)[: experiment.search.confirm.top]


def confirm_agenda(experiment: Experiment, chosen: Sequence[TrialHistory]) -> Agenda:
    """Returns the agenda that trains the chosen configurations again, with the same new seeds.

    It halves: one seed for each, then the others for the best two. After 800 epochs on recorded
    curves (n = 100), five and two with three seeds end 0.52 points from the best, and the search
    alone 0.68; three with three seeds each, which are as many trainings, end 0.52 from it, too.
    """
    assert experiment.search.confirm is not None
    seeds = [confirm_seed(experiment, place) for place in range(experiment.search.confirm.seeds)]

    def agenda(history: History) -> Next:
        if history.interrupted:
            return carried_on(next(iter(history.interrupted.values())))
        for work in _confirmations(history, chosen, seeds):
            if work.trial_id not in history.trials:
                return work
        return WAIT if history.active else "trials"

    return agenda


def cut_short(agenda: Agenda, search: SearchConfig) -> Agenda:
    """Returns the agenda of a confirmation that a person or the time may end: then no other
    training begins.

    Those that have begun go on, since one that was cut short would not be comparable.
    """

    def cut(history: History) -> Next | Beyond:
        reason: Reason | None = "asked" if history.finish_asked else None
        if (reason or is_late(search, history)) and not history.interrupted:
            return WAIT if history.active else reason or "time"
        return agenda(history)

    return cut


def _confirmations(
    history: History, chosen: Sequence[TrialHistory], seeds: Sequence[int]
) -> Iterator[Work]:
    """Yields a training of each with the first seed; once these are over, more of the best two."""
    first = [_again(trial, seed=seeds[0]) for trial in chosen]
    yield from first
    # All of them have begun, or the agenda would not ask for more.
    begun = [history.trials[work.trial_id] for work in first]
    if history.run.version < 3:  # those runs promised every seed to each
        finalists = list(chosen)
    elif all(trial.is_over for trial in begun):
        finalists = _finalists(history, chosen, begun)
    else:
        return
    yield from (_again(trial, seed=seed) for seed in seeds[1:] for trial in finalists)


def _finalists(
    history: History, chosen: Sequence[TrialHistory], again: Sequence[TrialHistory]
) -> list[TrialHistory]:
    """Returns those of the chosen that did best in the first training with a new seed."""
    scores = [history.score_of(trial) for trial in again]
    scored = [(s, trial) for s, trial in zip(scores, chosen, strict=True) if s is not None]
    return [trial for _, trial in sorted(scored, key=itemgetter(0), reverse=True)][:FINALISTS]


def _again(trial: TrialHistory, *, seed: int) -> Work:
    return Work(
        trial_id=f"{trial.trial_id}_seed_{seed}",
        purpose="confirm",
        seed=seed,
        parameters=trial.parameters,
        planned_epochs=trial.planned_epochs,
    )


def confirm_seed(experiment: Experiment, place: int) -> int:
    """Returns a seed that no trial of the search has had."""
    return (experiment.seed + MAX_TRIALS + place) % 2**31


def run_started(experiment: Experiment, space: SearchSpace | None = None) -> RunStarted:
    """Returns the first record of a search over `space`, or of a single training without one."""
    search = experiment.search
    parameters = space.parameters if space else {}
    return RunStarted(
        version=LOG_VERSION,
        name=experiment.name,
        method=search.method if space else "train",
        metric=search.metric.name,
        goal=search.metric.goal,
        trials=planned_trials(search, space) if space else 1,
        epochs=experiment.recipe.epochs,
        parameters={name: parameter_kind(p) for name, p in parameters.items()},
        points=points_of(search, space) if space and search.limits else None,
        budgets=set_budgets(search) if space else {},
    )


def planned_trials(search: SearchConfig, space: SearchSpace) -> int:
    """Returns how many trials a search runs: never more than the points of a finite space.

    If another budget ends the search, there is no number of trials to plan with.
    """
    points, wanted = points_of(search, space), wanted_trials(search)
    return wanted if points is None else min(wanted, points)


def wanted_trials(search: SearchConfig) -> int:
    """Returns how many trials a search runs if its space has as many points."""
    if search.trials is not None:
        return search.trials
    has_end = search.is_exhaustive or search.has_budget_beside_trials
    return MAX_TRIALS if has_end else DEFAULT_TRIALS


def points_of(search: SearchConfig, space: SearchSpace, *, tried: Iterable[str] = ()) -> int | None:
    """Returns how many points a search can suggest; None if there is no end of them.

    Points that were `tried`, as `canonical` writes them, do not count.
    """
    if space.grid is None:
        return None
    # A first point may have a value that is never drawn.
    first = [] if search.is_exhaustive else map(canonical, space.first)
    return len({*space.grid_names, *first}.difference(tried))


def parameter_kind(parameter: Parameter) -> ParameterKind:
    """Returns the kind that all values of a parameter have in common."""
    if isinstance(parameter, Numeric):
        return "number"
    if all(isinstance(value, bool) for value in parameter.values):
        return "boolean"
    # A bool is an int to Python, but not to a reader of the table.
    numbers = (isinstance(v, int | float) and not isinstance(v, bool) for v in parameter.values)
    return "number" if all(numbers) else "string"
