"""The state of a run: a fold over the records of its log. Every decision is a function of it."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from inat_ray.config.distributions import canonical
from inat_ray.config.metrics import METRICS, MetricName
from inat_ray.config.search import MAX_TRIALS
from inat_ray.log import records
from inat_ray.log.records import JSON
from inat_ray.log.score import STRETCH, Score, score_of
from inat_ray.log.standings import Ranking, Standings

BAD: tuple[records.TrialState, ...] = ("failed", "diverged", "out_of_memory")
"""Ends of a trial whose configuration does not train."""

OPEN: tuple[records.TrialState, ...] = ("running", "paused", "interrupted")
"""States of a trial that may continue; in every other one it is over."""


@dataclass
class TrialHistory:
    """One trial, as far as the log goes."""

    trial_id: str
    purpose: records.Purpose
    seed: int
    parameters: dict[str, JSON]
    planned_epochs: int
    started: float
    number: int
    """Place in order of start, from 0."""
    state: records.TrialState = "running"
    error: str | None = None
    losses: int = 0
    """The number of times that its process died since its last new epoch."""
    epochs: list[records.EpochEnded] = field(default_factory=list)
    """In order of epoch, the last record of each."""
    keeps_last: bool = False
    """Whether the model of its last epoch is kept, not of its best one."""
    stop_after: int | None = None
    """The number of epochs after which it ends because a person asked for that."""

    @property
    def is_over(self) -> bool:
        return self.state not in OPEN

    def values(self, metric: str) -> list[float]:
        """The metric after each epoch."""
        return [getattr(record, metric) for record in self.epochs]

    def best(self, metric: MetricName) -> records.EpochEnded | None:
        """Returns the epoch with the best finite value, the earliest of equals.

        If the last epoch's model is kept, it is the last one with a finite value.
        """
        scored = [record for record in self.epochs if math.isfinite(record.score(metric))]
        if self.keeps_last:
            return scored[-1] if scored else None
        return max(scored, key=lambda record: record.score(metric), default=None)


@dataclass
class History:
    """The state of a run after the records so far.

    A search of 100,000 trials asks it before each of its steps, so nothing here may take time in
    proportion to the trials: adding a record costs a logarithm of them, and a field holds whatever
    a decision asks for.
    """

    started: records.RunStarted | None = None
    """The run's first record, None before it; `run` where it must be there."""
    trials: dict[str, TrialHistory] = field(default_factory=dict)
    """By trial id, in order of start."""
    numbered: list[TrialHistory] = field(default_factory=list)
    """The same as a list: `numbered[trial.number] is trial`."""
    searched: list[TrialHistory] = field(default_factory=list)
    """The trials of the search, in order of start."""
    confirming: list[TrialHistory] = field(default_factory=list)
    """The trials of its confirmation, in order of start."""
    final: TrialHistory | None = None
    """The training for the kept model that was begun or resumed last."""
    picked: TrialHistory | None = None
    """The trial that a person chose for the kept model since the search ended."""
    known: list[records.TrialKnown] = field(default_factory=list)
    """Trials of other runs that the searcher was told of."""
    beyond: list[tuple[int, records.PointBeyond]] = field(default_factory=list)
    """Points beyond the limits, each after the number of trials that had started before it."""
    beyond_in_a_row: int = 0
    """Since the newest trial of the search."""
    looks: list[records.LookAtTest] = field(default_factory=list)
    look: records.LookAtTest | None = None
    """The first since the newest epoch of `final`, by the order of the log: clocks may be reset."""
    ended: records.Reason | None = None
    """Why the search ended; None while it goes on."""
    most_trials: int = 0
    """Trials that there can be."""
    most_points: int | None = None
    """Trials and points beyond the limits that there can be, as in `RunStarted.points`."""
    extended: bool = False
    steering: list[tuple[int, records.Steering]] = field(default_factory=list)
    """What a person asked for, each after the number of the search's trials that had started."""
    changed: dict[str, dict[str, JSON]] = field(default_factory=dict)
    """Parameters that were changed since the search began, with their present distributions."""
    budget: int | None = None
    """The number of trials that a person asked for last, since the search began."""
    budgets: records.Budgets = field(default_factory=dict)
    """The other budgets; of a log that does not name them at its start, those that a person
    changed since."""
    finish_asked: bool = False
    """Whether a person asked for the search's end."""
    epochs_spent: int = 0
    """By the search's trials."""
    epochs_trained: int = 0
    """By all trials, with those of the confirmation and the training of the kept model."""
    ranking: Ranking = field(default_factory=Ranking)
    """Of the search's trials, by their number."""
    standings: Standings = field(default_factory=Standings)
    """Of the search's trials, by their number."""
    states: Counter[records.TrialState] = field(default_factory=Counter)
    """Trials of the search by state."""
    open: dict[str, TrialHistory] = field(default_factory=dict)
    """Trials of the search that are not over."""
    active: dict[str, TrialHistory] = field(default_factory=dict)
    """Trials of the search and its confirmation that are running."""
    most_at_once: int = 1
    """The most trials that were running at the same time."""
    interrupted: dict[str, TrialHistory] = field(default_factory=dict)
    """Trials of the search and its confirmation that were cut off and are to go on."""
    points: Counter[str] = field(default_factory=Counter)
    """Points that were suggested, as `canonical` writes them."""
    _session: tuple[float, float] = (0.0, 0.0)
    """When the process that now writes began, and the seconds that earlier ones took."""
    pauses: list[tuple[float, float]] = field(default_factory=list)
    """When no process wrote: from the last record of one to the first of the next."""
    newest: records.AnyRecord | None = None
    """The last record."""

    def add(self, record: records.AnyRecord) -> None:
        match record:
            case records.EpochEnded():
                self._add_epoch(record)
            case records.TrialStarted():
                self._start(record)
            case records.TrialEnded():
                trial = self.trials[record.trial_id]
                self._enter(trial, record.state)
                trial.error = record.error
                # Without an error the user cut it off, or the whole run ended.
                trial.losses += record.state == "interrupted" and record.error is not None
            case records.TrialPaused():
                self._enter(self.trials[record.trial_id], "paused")
            case records.TrialResumed():
                trial = self.trials[record.trial_id]
                self._enter(trial, "running")
                trial.error = None
                self._forget_epochs(trial, after=record.epochs)
            case records.TrialKnown():
                self.known.append(record)
            case records.PointBeyond():
                self._pass_over(record)
            case records.LookAtTest():
                self.looks.append(record)
                self.look = self.look or record
            case records.SearchEnded():
                self.ended, self.picked = record.reason, None
            case records.RunStarted():
                self.started, self.most_trials = record, record.trials
                self.most_points, self.budgets = record.points, dict(record.budgets)
                self._session = (record.time, 0.0)
            case records.RunResumed():
                self._carry_on(record)
            case _:
                self._steer(record)
        self.newest = record

    @classmethod
    def of(cls, log: Iterable[records.AnyRecord]) -> "History":
        history = cls()
        for record in log:
            history.add(record)
        return history

    @property
    def run(self) -> records.RunStarted:
        """Returns the first record of a run that has begun."""
        assert self.started is not None, "the run has not begun"
        return self.started

    @property
    def is_training(self) -> bool:
        """Whether the run is a single training, not a search."""
        return self.started is not None and self.started.method == "train"

    @property
    def unfinished(self) -> bool:
        """Whether the search, its confirmation or the training of the kept model is still to end.

        That training is tried again when it failed: without it there is no model.
        """
        open_states = ("running", "interrupted", "failed")
        final = self.final.state in open_states if self.final else self.picked is not None
        return self.ended is None or bool(self.active or self.interrupted) or final

    @property
    def trials_over(self) -> int:
        """Trials of the search that do not go on."""
        return len(self.searched) - len(self.open)

    @property
    def planned_trials(self) -> int | None:
        """Trials that the search runs unless it ends early; None if nothing was said of them."""
        return self.most_trials if self.most_trials < MAX_TRIALS else None

    @property
    def suggested(self) -> int:
        """Points that were suggested: the search's trials, and points beyond the limits."""
        return len(self.searched) + len(self.beyond)

    def has_tried(self, parameters: dict[str, JSON]) -> bool:
        """Returns whether this point was suggested before."""
        return canonical(parameters) in self.points

    @property
    def waiting(self) -> list[TrialHistory]:
        """Trials of the search that may continue and do not run: paused or interrupted."""
        return [trial for trial in self.open.values() if trial.state != "running"]

    @property
    def epochs_saved(self) -> int:
        """Epochs that the search did not train, because early stopping or a budget ended trials."""
        stopped = (trial for trial in self.searched if trial.state == "stopped")
        return sum(trial.planned_epochs - len(trial.epochs) for trial in stopped)

    @property
    def stretch(self) -> int:
        """The most epochs in a row whose mean is a trial's score: 1 is its best epoch.

        That is how earlier versions chose, and their runs stay as they were begun. In a single
        training nothing is chosen.
        """
        return 1 if self.run.version < 3 or self.is_training else STRETCH

    @property
    def best_score(self) -> Score | None:
        """The best score of a trial of the search."""
        return None if self.leader is None else self.ranking.score(self.leader.number)

    @property
    def leader(self) -> TrialHistory | None:
        """The trial of the search with the best score."""
        return next((self.numbered[number] for number in self.ranking), None)

    @property
    def seconds(self) -> float:
        """What the run took up to its last record."""
        return self.seconds_at(self.newest.time if self.newest else 0.0)

    def seconds_at(self, now: float) -> float:
        """Returns what the run took up to `now` (since 1970), without time between processes."""
        start, before = self._session
        return before + now - start

    def score(self, record: records.EpochEnded) -> float:
        """Returns the run's metric after an epoch, turned so that higher is better."""
        return record.score(self.run.metric)

    def has_score(self, trial: TrialHistory) -> bool:
        """Returns whether a trial of the search has a finite score after its newest epoch."""
        return trial.number in self.standings.scores.get(len(trial.epochs), ())

    def best_value(self, trial: TrialHistory) -> float | None:
        """Returns the run's metric at the trial's best epoch; None without a result."""
        best = trial.best(self.run.metric)
        return None if best is None else float(getattr(best, self.run.metric))

    def score_of(self, trial: TrialHistory, *, at: int | None = None) -> Score | None:
        """Returns what the trial is compared by; None without a result.

        `at`: of those epochs alone that a stretch may hold which ends with this one.
        """
        epochs = trial.epochs if at is None else trial.epochs[max(0, at - self.stretch) : at]
        values = map(self.score, epochs)
        return score_of(values, planned=trial.planned_epochs, stretch=self.stretch)

    def score_value(self, trial: TrialHistory) -> float | None:
        """Returns the trial's score as a value of the run's metric."""
        score = self.score_of(trial)
        return None if score is None else self.turned(score.value)

    def turned(self, value: float) -> float:
        """Turns a value of the run's metric so that higher is better, or turns it back."""
        return METRICS[self.run.metric].score(value)

    def leaderboard(self) -> list[TrialHistory]:
        """Returns the search's trials that have a result, best first; equals in order of start."""
        return [self.numbered[number] for number in self.ranking]

    def _start(self, record: records.TrialStarted) -> None:
        trial = TrialHistory(
            trial_id=record.trial_id,
            purpose=record.purpose,
            seed=record.seed,
            parameters=record.parameters,
            planned_epochs=record.epochs,
            started=record.time,
            number=len(self.numbered),
            keeps_last=record.keeps_last,
        )
        self.trials[record.trial_id] = trial
        self.numbered.append(trial)
        if trial.purpose == "confirm":
            self.confirming.append(trial)
        elif trial.purpose == "search":
            self.searched.append(trial)
            self.beyond_in_a_row = 0
            self.points[canonical(trial.parameters)] += 1
            self.states["running"] += 1
        self._enter(trial, "running")

    def _pass_over(self, record: records.PointBeyond) -> None:
        self.beyond.append((len(self.numbered), record))
        self.beyond_in_a_row += 1
        self.points[canonical(record.parameters)] += 1
        if self.most_points is not None:
            self.most_trials = min(self.most_trials, self.most_points - len(self.beyond))

    def _steer(self, record: records.Steering) -> None:
        self.steering.append((len(self.searched), record))
        match record:
            case records.StopAsked():
                self.trials[record.trial_id].stop_after = record.epochs
            case records.FinishAsked():
                self.finish_asked = True
            case records.TrialPicked():
                self.picked, self.final, self.look = self.trials[record.trial_id], None, None
            case records.SearchChanged():
                self.most_trials, self.most_points = record.trials, record.points
                self.changed |= record.parameters
                self.budgets |= record.budgets
                self.beyond_in_a_row = 0
                self.budget = record.budget or self.budget
                if record.budget is not None or record.budgets:
                    self.finish_asked = False

    def _add_epoch(self, record: records.EpochEnded) -> None:
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
            newest, before = self.score_of(trial, at=record.epoch), self.ranking.score(trial.number)
            assert newest is not None
            self.ranking.put(trial.number, max(newest, before or newest))

    def _forget_epochs(self, trial: TrialHistory, *, after: int) -> None:
        """Takes epochs that are trained again, those after `after`, out of all that counts them."""
        if not trial.epochs or trial.epochs[-1].epoch <= after:
            return
        while trial.epochs and trial.epochs[-1].epoch > after:
            void = trial.epochs.pop()
            self.epochs_trained -= 1
            if trial.purpose == "search":
                self.epochs_spent -= 1
                self.standings.remove(trial.number, void.epoch)
        if trial.purpose == "search":
            self.ranking.put(trial.number, self.score_of(trial))

    def _enter(self, trial: TrialHistory, state: records.TrialState) -> None:
        """Moves a trial from its state to another, in everything that is kept by state."""
        if trial.state == "paused":
            self.standings.unpause(trial.number, trial.epochs[-1].epoch)
        if trial.purpose == "search":
            self.states[trial.state] -= 1
            self.states[state] += 1
        trial.state = state
        for holder in (self.open, self.active, self.interrupted):
            holder.pop(trial.trial_id, None)
        if state == "paused":
            self.standings.pause(trial.number, trial.epochs[-1].epoch)
        if trial.purpose == "search" and not trial.is_over:
            self.open[trial.trial_id] = trial
        if trial.purpose == "final":
            if state == "running":
                self.final, self.look = trial, None
        elif state == "running":
            self.active[trial.trial_id] = trial
            self.most_at_once = max(self.most_at_once, len(self.active))
        elif state == "interrupted":
            self.interrupted[trial.trial_id] = trial

    def _carry_on(self, record: records.RunResumed) -> None:
        self._session = (record.time, self.seconds)
        if self.newest is not None:
            self.pauses.append((self.newest.time, record.time))
        if record.trials != self.most_trials:  # so did earlier versions extend a search
            self.most_trials = self.budget = record.trials
        if record.extended:
            self.extended, self.ended, self.finish_asked = True, None, False
            self.budgets = dict.fromkeys(records.BUDGETS)
        for trial in list(self.active.values()):
            self._enter(trial, "interrupted")
