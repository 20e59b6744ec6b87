"""Runs a search in virtual time, on recorded curves: the same decisions, without the training.

Simulated are n workers, each with one trial at a time, the seconds of an epoch as recorded, a cost
for every start, and processes that die at a rate. Everything else is the search itself. A
simulation is a function of its arguments.
"""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.metrics import METRICS
from inat_ray.config.space import SearchSpace
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import (
    AnyRecord,
    EpochEnded,
    Reason,
    SearchEnded,
    TrialEnded,
    TrialPaused,
    TrialState,
)
from inat_ray.search.agenda import Work, next_work, run_started, search_agenda
from inat_ray.search.curves import Curve, CurveOf, CurveTable
from inat_ray.search.limits import Beyond, Limit, no_limit
from inat_ray.search.searchers import Point
from inat_ray.search.stopping import state_after_epoch


@dataclass(frozen=True)
class Cluster:
    """The machines that a search is simulated on."""

    workers: int = 1
    startup_seconds: float = 0.0
    """Before the first epoch of every piece of work."""
    failure_rate: float = 0.0
    """Probability that an epoch ends with the death of its process instead."""


class Simulation:
    """A simulated search. Its state: the clock, the history so far, and the epochs under way."""

    def __init__(
        self,
        experiment: Experiment,
        space: SearchSpace,
        curve_of: CurveOf,
        cluster: Cluster,
        *,
        limit: Limit = no_limit,
    ) -> None:
        self.experiment, self.space, self.cluster = experiment, space, cluster
        self.clock, self.history = 0.0, History()
        self._curve_of, self._agenda = curve_of, search_agenda(experiment, space, limit)
        self._rng = np.random.default_rng([experiment.seed, 1])
        self._idle = cluster.workers
        # (time, order of planning, trial whose epoch ends then)
        self._events: list[tuple[float, int, str]] = []
        self._planned = 0
        started = run_started(experiment, space)
        self._record(started)

    def run(self) -> History:
        """Runs the search to its end."""
        for _ in self.epochs():
            pass
        return self.history

    def epochs(self) -> Iterator[TrialHistory]:
        """Runs the search to its end, and yields the trial after every epoch."""
        reason = self._hand_out()
        while self._events:
            self.clock, _, trial_id = heapq.heappop(self._events)
            self._end_epoch(trial_id)
            yield self.history.trials[trial_id]
            reason = self._hand_out()
        assert reason is not None
        for trial in self.history.waiting:
            self._end(trial.trial_id, "stopped")
        self.history.add(SearchEnded(time=self.clock, reason=reason))

    def _hand_out(self) -> Reason | None:
        """Gives work to idle workers. Returns the reason if there will be no more."""
        while self._idle:
            work = next_work(self._agenda, self.history, self._record)
            if not isinstance(work, Work):
                return None if work == "wait" else work
            self._record(work.record())
            self._idle -= 1
            self._plan(work.trial_id, after=self.cluster.startup_seconds)
        return None

    def _record(self, record: AnyRecord) -> None:
        self.history.add(record.model_copy(update={"time": self.clock}))

    def _plan(self, trial_id: str, *, after: float = 0.0) -> None:
        """Plans the end of the trial's next epoch."""
        seconds = self._curve(trial_id).seconds[len(self.history.trials[trial_id].epochs)]
        self._planned += 1
        heapq.heappush(self._events, (self.clock + after + seconds, self._planned, trial_id))

    def _end_epoch(self, trial_id: str) -> None:
        if self.cluster.failure_rate and self._rng.random() < self.cluster.failure_rate:
            self._end(trial_id, "interrupted", error="a simulated failure")
            self._idle += 1
            return
        done = len(self.history.trials[trial_id].epochs)
        self._record(epoch_of(self._curve(trial_id), trial_id, done))
        state = state_after_epoch(self.experiment.search, self.history, trial_id)
        trained = len(self.history.trials[trial_id].epochs)
        if state in ("running", "paused") and trained >= self._curve(trial_id).epochs:
            state = "stopped"  # as in the record, which has no more epochs
        if state == "running":
            self._plan(trial_id)
            return
        self._idle += 1
        if state == "paused":
            self.history.add(TrialPaused(time=self.clock, trial_id=trial_id))
        else:
            self._end(trial_id, state)

    def _end(self, trial_id: str, state: TrialState, *, error: str | None = None) -> None:
        self.history.add(TrialEnded(time=self.clock, trial_id=trial_id, state=state, error=error))

    def _curve(self, trial_id: str) -> Curve:
        return self._curve_of(self.history.trials[trial_id].parameters)


def epoch_of(curve: Curve, trial_id: str, done: int) -> EpochEnded:
    """Returns the record of a trial's next epoch, after `done` of the curve's."""
    return EpochEnded(
        trial_id=trial_id,
        epoch=done + 1,
        lr=0.0,
        seconds=curve.seconds[done],
        images_per_second=0.0,
        **{name: values[done] for name, values in curve.metrics.items()},
    )


@dataclass(frozen=True)
class Outcome:
    """The result of a simulated search."""

    best: float
    """The best value of the metric after a trial's last epoch; NaN if no trial got there."""
    epochs: int
    seconds: float
    epochs_to_good: int | None
    """Epochs spent when the first good trial had its last one; None if there was none."""
    seconds_to_good: float | None


def recorded_limit(experiment: Experiment, table: CurveTable) -> Limit:
    """Returns the limits of an experiment's search; sizes of networks are those of the record."""
    limits = experiment.search.limits

    def limit(point: Point) -> Beyond | None:
        if limits is None or (size := table.size(point)) is None:
            return None
        parameters, macs = size
        is_within = limits.allow(parameters=parameters, macs=macs)
        return None if is_within else Beyond(point, parameters, macs)

    return limit


def simulated(
    experiment: Experiment, table: CurveTable, cluster: Cluster, *, within: float
) -> Outcome:
    """Runs a whole search. A trial is good if it ends within `within` of the best recorded one.

    Raises UserError if all that were recorded are beyond the limits.
    """
    limit = recorded_limit(experiment, table)
    simulation = Simulation(experiment, table.space, table.curve, cluster, limit=limit)
    metric = METRICS[experiment.search.metric.name]
    allowed = [curve for curve in table.configurations if limit(dict(curve.parameters)) is None]
    if not allowed:
        raise UserError("search.limits: all that was recorded is beyond them; allow more")
    goal = max(metric.score(curve.metrics[metric.name][-1]) for curve in allowed) - within
    history, best = simulation.history, -math.inf
    first: tuple[int, float] | tuple[None, None] = (None, None)
    for trial in simulation.epochs():
        if trial.state != "finished":
            continue
        score = history.score(trial.epochs[-1])
        best = max(best, score)
        if score >= goal and first[0] is None:
            first = (history.epochs_spent, simulation.clock)
    return Outcome(
        best=metric.score(best) if math.isfinite(best) else math.nan,
        epochs=history.epochs_spent,
        seconds=simulation.clock,
        epochs_to_good=first[0],
        seconds_to_good=first[1],
    )
