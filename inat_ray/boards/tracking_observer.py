"""Passes the run log on to a tracker, on a thread of its own: no search waits for a server.

What a tracker missed while it did not answer is sent when it answers again; what it missed because
the process was killed is sent when the run and the trial are resumed.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from textwrap import shorten
from typing import Any

from inat_ray.boards.scalars import epoch_scalars, search_scalars
from inat_ray.boards.trackers import Scalar, TrackedRun, Tracker
from inat_ray.config.difference import flat
from inat_ray.config.experiment import Experiment
from inat_ray.log.costs import costs_of
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import (
    AnyRecord,
    EpochEnded,
    LookAtTest,
    RunStarted,
    TrialEnded,
    TrialPaused,
    TrialResumed,
    TrialStarted,
    TrialState,
)

WHOLE = "sweep"
"""The key of the tracked run for the whole sweep, or for its only training."""

SECONDS_BETWEEN_TRIES = 20.0

SECONDS_TO_CLOSE = 60.0
"""How long the end of a run waits for a tracker, at most."""

SECONDS_OF_SILENCE = 2.0
"""A longer wait is announced."""


class TrackingObserver:
    """Follows the log, record by record.

    State of its thread: `_history`, the log up to the record that is being sent; `_sent`, the last
    step of each open run; `_error`, why the tracker does not take it.
    """

    def __init__(
        self,
        tracker: Tracker,
        experiment: Experiment,
        *,
        tell: Callable[[str], None],
        past: Iterable[AnyRecord] = (),
        between_tries: float = SECONDS_BETWEEN_TRIES,
        to_close: float = SECONDS_TO_CLOSE,
    ) -> None:
        """`past`: the log of earlier processes, if the run is resumed. Times are in seconds."""
        self._tracker, self._experiment, self._tell = tracker, experiment, tell
        self._between_tries, self._to_close = between_tries, to_close
        self._history = History.of(past)
        self._sent: dict[str, int] = {}
        self._error: Exception | None = None
        self._records: SimpleQueue[AnyRecord | None] = SimpleQueue()
        self._closing, self._given_up = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name=tracker.title)
        self._thread.start()

    def __call__(self, record: AnyRecord) -> None:
        self._records.put(record)

    def close(self) -> None:
        """Waits until the tracker has everything, or says that it does not have the end."""
        title = self._tracker.title
        self._records.put(None)
        self._closing.set()
        self._thread.join(min(SECONDS_OF_SILENCE, self._to_close))
        if self._thread.is_alive():
            self._tell(f"waiting for {title} to receive the rest, {self._to_close:.0f} s at most")
            self._thread.join(self._to_close)
        self._given_up.set()
        if self._thread.is_alive():
            self._tell(f"{title} lacks the end of this run; the run's own folder has all of it")
        elif self._history.started is not None:
            self._tell(f"{title}: {self._tracker.address()}")

    def _work(self) -> None:
        while (record := self._records.get()) is not None:
            self._history.add(record)
            self._insist(partial(self._take, record))
        self._insist(self._close_all)

    def _insist(self, action: Callable[[], None]) -> None:
        """Repeats an action until it succeeds. An action skips what it has already done."""
        while not self._given_up.is_set():
            try:
                action()
            except Exception as error:  # an adapter raises whatever its tracker's library does
                self._explain(error)
                # Somebody waits for the end of the run: until it is given up, try every second.
                if self._closing.wait(self._between_tries):
                    self._given_up.wait(min(1.0, self._between_tries))
            else:
                self._explain(None)
                return

    def _explain(self, error: Exception | None) -> None:
        """Says once that an outage has begun, and once that it is over."""
        title = self._tracker.title
        if error is not None and self._error is None:
            cause = shorten(str(error), width=200, placeholder=" ...")
            self._tell(f"{title} does not answer; it will get the rest later: {cause}")
        if error is None and self._error is not None:
            self._tell(f"{title} answers again")
        self._error = error

    def _take(self, record: AnyRecord) -> None:
        match record:
            case RunStarted():
                self._open(WHOLE)
            case TrialStarted() | TrialResumed():
                self._open(self._key(record.trial_id))
            case EpochEnded():
                self._send_epochs(self._history.trials[record.trial_id])
            case TrialPaused():
                self._close(record.trial_id, state="paused", at=record.time)
            case TrialEnded():
                self._end(record)
            case LookAtTest():
                self._open(WHOLE)
                test = {"test/accuracy": record.accuracy, "test/loss": record.loss}
                test |= {} if record.ece is None else {"test/ece": record.ece}
                self._tracker.summarize(WHOLE, test)

    def _open(self, key: str) -> None:
        if key in self._sent:
            return
        if key != WHOLE:
            self._open(WHOLE)
        self._sent[key] = self._tracker.open(self._tracked(key))

    def _send_epochs(self, trial: TrialHistory) -> None:
        """Sends the epochs that the tracker lacks. One that is trained again is sent once."""
        key = self._key(trial.trial_id)
        self._open(key)
        for epoch in trial.epochs:
            self._send(key, epoch_scalars(epoch), step=epoch.epoch, at=epoch.time)

    def _send(self, key: str, values: Mapping[str, float], *, step: int, at: float) -> None:
        # Only then is it noted as sent: an action that failed is repeated from here.
        if step > self._sent[key]:
            self._tracker.log(key, values, step=step, time=at)
            self._sent[key] = step

    def _end(self, record: TrialEnded) -> None:
        trial = self._history.trials[record.trial_id]
        self._send_epochs(trial)
        self._tracker.summarize(self._key(trial.trial_id), _summary(self._history, trial))
        if self._history.is_training:
            return
        if trial.purpose == "search":
            step, values = search_scalars(self._history)
            self._send(WHOLE, values, step=step, at=record.time)
        self._close(trial.trial_id, state=record.state, at=record.time)

    def _close(self, key: str, *, state: TrialState, at: float) -> None:
        if key in self._sent:
            self._tracker.close(key, state=state, time=at)
            del self._sent[key]

    def _close_all(self) -> None:
        for key in sorted(self._sent, key=lambda key: key == WHOLE):
            state = self._state_of_whole() if key == WHOLE else "interrupted"
            self._close(key, state=state, at=time.time())

    def _state_of_whole(self) -> TrialState:
        history = self._history
        if not history.is_training:
            return "interrupted" if history.unfinished else "finished"
        states: list[TrialState] = [trial.state for trial in history.numbered]
        return states[0] if states and states[0] != "running" else "interrupted"

    def _tracked(self, key: str) -> TrackedRun:
        run = self._history.run
        digest = hashlib.sha256(f"{run.name} {run.time}".encode()).hexdigest()
        whole = TrackedRun(
            key=WHOLE,
            name=f"{run.name}-{digest[:8]}",
            kind="train" if self._history.is_training else "sweep",
            sweep=f"{run.name}-{digest[:8]}",
            parent=None,
            parameters=_settings(self._experiment),
            started=run.time,
        )
        if key == WHOLE:
            return whole
        trial = self._history.trials[key]
        return replace(
            whole,
            key=key,
            name=key,
            kind=trial.purpose,
            parent=WHOLE,
            parameters=_scalars(trial.parameters | {"seed": trial.seed}),
            started=trial.started,
        )

    def _key(self, trial_id: str) -> str:
        return WHOLE if self._history.is_training else trial_id


def _settings(experiment: Experiment) -> dict[str, Scalar]:
    """Returns the whole experiment except its section `tracking`."""
    return _scalars(dict(flat(experiment.model_dump(mode="json", exclude={"tracking"}))))


def _scalars(parameters: dict[str, Any]) -> dict[str, Scalar]:
    return {
        name: json.dumps(value) if isinstance(value, list | dict) else value
        for name, value in parameters.items()
    }


def _summary(history: History, trial: TrialHistory) -> dict[str, float | str]:
    """Returns a trial's outcome, named as in trials.parquet."""
    metric, best = history.run.metric, trial.best(history.run.metric)
    summary: dict[str, float | str] = {"state": trial.state, **costs_of(trial)}
    if best is not None:
        summary |= {"best": getattr(best, metric), "best_epoch": best.epoch}
    if (score := history.score_value(trial)) is not None:
        summary["score"] = score
    if trial.error is not None:
        summary["error"] = trial.error
    return summary
