"""What a log amounts to: a fold over its records, which every decision is a function of."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from inat_ray.config.distributions import canonical
from inat_ray.config.metrics import METRICS, MetricName
from inat_ray.log.records import (
    JSON,
    AnyRecord,
    EpochEnded,
    LookAtTest,
    Purpose,
    Reason,
    RunResumed,
    RunStarted,
    SearchEnded,
    TrialEnded,
    TrialKnown,
    TrialPaused,
    TrialResumed,
    TrialStarted,
    TrialState,
)
from inat_ray.log.standings import Ranking, Standings

BAD: tuple[TrialState, ...] = ("failed", "diverged", "out_of_memory")
"""How a trial ends whose configuration does not train."""

OPEN: tuple[TrialState, ...] = ("running", "paused", "interrupted")
"""States of a trial that may go on; in every other one it is over."""


@dataclass
class TrialHistory:
    """One trial as the log tells it."""

    trial_id: str
    purpose: Purpose
    seed: int
    parameters: dict[str, JSON]
    planned_epochs: int
    started: float
    number: int
    """Place in order of start, from 0."""
    state: TrialState = "running"
    error: str | None = None
    losses: int = 0
    """How often its process died since its last new epoch."""
    epochs: list[EpochEnded] = field(default_factory=list)
    """In order of epoch, the last record of each."""

    @property
    def is_over(self) -> bool:
        return self.state not in OPEN

    def values(self, metric: str) -> list[float]:
        """The metric after each epoch."""
        return [getattr(record, metric) for record in self.epochs]

    def best(self, metric: MetricName) -> EpochEnded | None:
        """Returns the epoch with the best finite value; the earliest of equals."""
        scored = (record for record in self.epochs if math.isfinite(record.score(metric)))
        return max(scored, key=lambda record: record.score(metric), default=None)


@dataclass
class History:
    """The state of a run after the records so far; adding one costs a logarithm of their number."""

    started: RunStarted | None = None
    """The run's first record; None before it. Where it must be there, ask `run`."""
    trials: dict[str, TrialHistory] = field(default_factory=dict)
    """By trial id, in order of start."""
    numbered: list[TrialHistory] = field(default_factory=list)
    """The same as a list: `numbered[trial.number] is trial`."""
    searched: list[TrialHistory] = field(default_factory=list)
    """The trials of the search, in order of start."""
    confirming: list[TrialHistory] = field(default_factory=list)
    """Those of its confirmation, in order of start."""
    final: TrialHistory | None = None
    """The training for the kept model that was begun or resumed last."""
    known: list[TrialKnown] = field(default_factory=list)
    """Trials of other runs that the searcher was told of."""
    looks: list[LookAtTest] = field(default_factory=list)
    look: LookAtTest | None = None
    """The first since the newest epoch of `final`, in the order of the log: clocks may be set."""
    ended: Reason | None = None
    """Why the search is over; None while it is not."""
    planned_trials: int = 0
    extended: bool = False
    epochs_spent: int = 0
    """By the search's trials."""
    epochs_trained: int = 0
    """By all trials: the confirmation's and the kept model's training are among them."""
    ranking: Ranking = field(default_factory=Ranking)
    """Of the search's trials, by their number."""
    standings: Standings = field(default_factory=Standings)
    """Of the search's trials, by their number."""
    states: Counter[TrialState] = field(default_factory=Counter)
    """Trials of the search by state."""
    open: dict[str, TrialHistory] = field(default_factory=dict)
    """Trials of the search that are not over."""
    active: dict[str, TrialHistory] = field(default_factory=dict)
    """Those trials of the search and its confirmation that are running."""
    interrupted: dict[str, TrialHistory] = field(default_factory=dict)
    """Those of them that are to go on."""
    bad: dict[str, TrialHistory] = field(default_factory=dict)
    """Trials of the search without a trustworthy result."""
    points: Counter[str] = field(default_factory=Counter)
    """Trials of the search by their parameters, as `canonical` writes them."""
    _session: tuple[float, float] = (0.0, 0.0)
    """When the process that now writes began; seconds that earlier ones had taken."""
    _last: float = 0.0

    def add(self, record: AnyRecord) -> None:
        match record:
            case EpochEnded():
                self._add_epoch(record)
            case TrialStarted():
                self._start(record)
            case TrialEnded():
                self._leave(record.trial_id, record.state)
                trial = self.trials[record.trial_id]
                trial.error = record.error
                trial.losses += record.state == "interrupted" and record.error is not None
            case TrialPaused():
                self._pause(record.trial_id)
            case TrialResumed():
                self._resume(record)
            case TrialKnown():
                self.known.append(record)
            case LookAtTest():
                self.looks.append(record)
                self.look = self.look or record
            case SearchEnded():
                self.ended = record.reason
            case RunStarted():
                self.started, self.planned_trials = record, record.trials
                self._session = (record.time, 0.0)
            case RunResumed():
                self._carry_on(record)
        self._last = record.time

    @classmethod
    def of(cls, records: Iterable[AnyRecord]) -> "History":
        history = cls()
        for record in records:
            history.add(record)
        return history

    @property
    def run(self) -> RunStarted:
        """Returns the first record of a run that has begun."""
        assert self.started is not None, "the run has not begun"
        return self.started

    @property
    def is_training(self) -> bool:
        """Whether the run is a single training, not a search."""
        return self.started is not None and self.started.method == "train"

    @property
    def unfinished(self) -> bool:
        """Whether the search, a confirmation or the winner's training has not come to its end."""
        final = self.final is not None and self.final.state in ("running", "interrupted", "failed")
        return self.ended is None or bool(self.active or self.interrupted) or final

    @property
    def trials_over(self) -> int:
        """Trials of the search that do not go on."""
        return len(self.searched) - len(self.open)

    def has_tried(self, parameters: dict[str, JSON]) -> bool:
        """Returns whether a trial of the search has this point."""
        return canonical(parameters) in self.points

    @property
    def waiting(self) -> list[TrialHistory]:
        """Trials of the search that are to go on, and do not run: paused or interrupted."""
        return [trial for trial in self.open.values() if trial.state != "running"]

    @property
    def epochs_saved(self) -> int:
        """Epochs that the search did not train, because early stopping or a budget ended trials."""
        stopped = (trial for trial in self.searched if trial.state == "stopped")
        return sum(trial.planned_epochs - len(trial.epochs) for trial in stopped)

    @property
    def best_score(self) -> float:
        """The best that a trial of the search had after an epoch that counts; higher is better."""
        return -math.inf if self.leader is None else self.ranking.score(self.leader.number)

    @property
    def leader(self) -> TrialHistory | None:
        """The trial of the search with the best score."""
        return next((self.numbered[number] for number in self.ranking), None)

    @property
    def seconds(self) -> float:
        """What the run has taken up to its last record."""
        return self.seconds_at(self._last)

    def seconds_at(self, now: float) -> float:
        """What the run has taken at `now` (since 1970); time between two processes is no part."""
        start, before = self._session
        return before + now - start

    def score(self, record: EpochEnded) -> float:
        """The run's metric after an epoch, turned so that higher is better."""
        return record.score(self.run.metric)

    def best_value(self, trial: TrialHistory) -> float | None:
        """Returns the run's metric at the trial's best epoch; None without a result."""
        best = trial.best(self.run.metric)
        return None if best is None else float(getattr(best, self.run.metric))

    def turned(self, value: float) -> float:
        """Turns a value of the run's metric so that higher is better, or turns it back."""
        return METRICS[self.run.metric].score(value)

    def leaderboard(self) -> list[TrialHistory]:
        """The search's trials that have a result, best first; equals in order of start."""
        return [self.numbered[number] for number in self.ranking]

    def _start(self, record: TrialStarted) -> None:
        trial = TrialHistory(
            trial_id=record.trial_id,
            purpose=record.purpose,
            seed=record.seed,
            parameters=record.parameters,
            planned_epochs=record.epochs,
            started=record.time,
            number=len(self.numbered),
        )
        self.trials[record.trial_id] = trial
        self.numbered.append(trial)
        if trial.purpose == "search":
            self.searched.append(trial)
            self.points[canonical(trial.parameters)] += 1
            self.states["running"] += 1
            self.open[trial.trial_id] = trial
        if trial.purpose == "confirm":
            self.confirming.append(trial)
        self._run(trial)

    def _add_epoch(self, record: EpochEnded) -> None:
        trial = self.trials[record.trial_id]
        self._forget_epochs(trial, after=record.epoch - 1)
        trial.epochs.append(record)
        trial.losses = 0
        self.epochs_trained += 1
        if trial is self.final:
            self.look = None
        if trial.purpose != "search":
            return
        self.epochs_spent += 1
        score = self.score(record)
        if math.isfinite(score):
            self.standings.add(trial.number, record.epoch, score)
            self.ranking.put(trial.number, max(score, self.ranking.score(trial.number)))

    def _forget_epochs(self, trial: TrialHistory, *, after: int) -> None:
        """Of a trial that went back: epochs after `after` are trained again."""
        if not trial.epochs or trial.epochs[-1].epoch <= after:
            return
        while trial.epochs and trial.epochs[-1].epoch > after:
            void = trial.epochs.pop()
            self.epochs_trained -= 1
            if trial.purpose == "search":
                self.epochs_spent -= 1
                self.standings.remove(trial.number, void.epoch)
        if trial.purpose == "search":
            scores = filter(math.isfinite, map(self.score, trial.epochs))
            self.ranking.put(trial.number, max(scores, default=None))

    def _pause(self, trial_id: str) -> None:
        self._leave(trial_id, "paused")
        trial = self.trials[trial_id]
        self.standings.pause(trial.number, trial.epochs[-1].epoch)

    def _resume(self, record: TrialResumed) -> None:
        trial = self.trials[record.trial_id]
        self._leave(trial.trial_id, "running")
        trial.error = None
        self._forget_epochs(trial, after=record.epochs)
        self._run(trial)

    def _run(self, trial: TrialHistory) -> None:
        if trial.purpose == "final":
            self.final, self.look = trial, None
        else:
            self.active[trial.trial_id] = trial

    def _leave(self, trial_id: str, state: TrialState) -> None:
        trial = self.trials[trial_id]
        if trial.state == "paused":
            self.standings.unpause(trial.number, trial.epochs[-1].epoch)
        if trial.purpose == "search":
            self._count(trial, state)
        trial.state = state
        self.active.pop(trial_id, None)
        self.interrupted.pop(trial_id, None)
        if trial.purpose == "search" and state in BAD:
            self.bad[trial_id] = trial
        if trial.purpose != "final" and state == "interrupted":
            self.interrupted[trial_id] = trial

    def _count(self, trial: TrialHistory, state: TrialState) -> None:
        self.states[trial.state] -= 1
        self.states[state] += 1
        self.open.pop(trial.trial_id, None)
        if state in OPEN:
            self.open[trial.trial_id] = trial

    def _carry_on(self, record: RunResumed) -> None:
        self._session = (record.time, self.seconds)
        self.planned_trials = record.trials
        if record.extended:
            self.extended, self.ended = True, None
        for trial_id in list(self.active):
            self._leave(trial_id, "interrupted")
