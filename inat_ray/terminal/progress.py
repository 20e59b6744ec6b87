"""The progress of a run: a live view in a terminal, otherwise one line for each event."""

import threading
import time
from collections.abc import Iterable

from rich.console import Console, Group
from rich.live import Live

from inat_ray.data.progress import can_redraw
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import (
    AnyRecord,
    EpochEnded,
    FinishAsked,
    SearchChanged,
    Steering,
    StopAsked,
    TrialEnded,
    TrialPicked,
    TrialResumed,
    TrialStarted,
    in_words,
)
from inat_ray.search.winner import origin_of, winning_trial
from inat_ray.terminal.estimate import stands_alone
from inat_ray.terminal.live import live_view
from inat_ray.terminal.run_texts import (
    best_text,
    score_text,
    share_text,
    speed_text,
    states_text,
    steering_text,
    times_text,
)
from inat_ray.terminal.words import counted, parameters_text, percent

REFRESHES_PER_SECOND = 2
SECONDS_BETWEEN_LINES = 10.0
"""A search without a terminal prints where it stands this often, if no trial starts or ends."""


class RunProgress:
    """Follows a run's records: as a live view if the console can redraw, otherwise as lines."""

    def __init__(self, console: Console, *, past: Iterable[AnyRecord] = ()) -> None:
        """`past`: the records of earlier processes, if the run is resumed."""
        self.console = console
        self.history = History.of(past)
        # Held while the history changes or is drawn: Live draws in a thread of its own.
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._last_line = 0.0
        """When the last line was written, by the records' clock."""

    def __enter__(self) -> "RunProgress":
        if can_redraw(self.console):
            self._live = Live(
                get_renderable=self._view,
                console=self.console,
                refresh_per_second=REFRESHES_PER_SECOND,
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, record: AnyRecord) -> None:
        with self._lock:
            self.history.add(record)
        if line := self._line(record):
            self.console.out(line, highlight=False)
            self._last_line = record.time

    def _view(self) -> Group:
        # Ctrl-C is echoed as ^C behind the last line: in a full one it would begin another, and a
        # line of the view would stay.
        options = self.console.options.update(width=max(1, self.console.width - len("^C")))
        with self._lock:
            return live_view(self.history, now=time.time(), options=options)

    def _line(self, record: AnyRecord) -> str | None:
        """Returns the line to print; above a live view only a training's epochs, errors, and what
        a person asked for."""
        line = event_line(self.history, record)
        if self._live is not None:
            is_epoch = isinstance(record, EpochEnded) and self.history.is_training
            stays = is_epoch or isinstance(record, Steering) or getattr(record, "error", None)
            return line if stays else None
        due = record.time - self._last_line >= SECONDS_BETWEEN_LINES
        if line is None and due and isinstance(record, EpochEnded):
            return standing_line(self.history, now=record.time)
        return line


def event_line(history: History, record: AnyRecord) -> str | None:
    """Describes a record in a line for a log file; None if it needs no line.

    A trial of a search gets a line for its start and its end, any other training for each epoch.
    """
    match record:
        case TrialStarted():
            return starting_line(history, record)
        case TrialResumed():
            return f"{record.trial_id} resumes after epoch {record.epochs}"
        case EpochEnded():
            trial = history.trials[record.trial_id]
            return epoch_line(record, trial) if stands_alone(history, trial) else None
        case TrialEnded():
            return ending_line(history, history.trials[record.trial_id])
        case SearchChanged() | StopAsked() | FinishAsked() | TrialPicked():
            return f"asked: {steering_text(record, begun=len(history.searched))}"
        case _:
            return None


def starting_line(history: History, record: TrialStarted) -> str:
    """Says what is trained; of what was trained before, only which trial it was."""
    line = f"{record.trial_id} starts, {counted(record.epochs, 'epoch')}"
    if record.purpose == "search":
        return f"{line}  {parameters_text(record.parameters)}".rstrip()
    before = origin_of(history.trials[record.trial_id], history)
    return f"{line}, as {before.trial_id}" if before else line


def epoch_line(record: EpochEnded, trial: TrialHistory) -> str:
    width = len(str(trial.planned_epochs))
    return (
        f"epoch {record.epoch:{width}}/{trial.planned_epochs}"
        f"  train {record.train_loss:6.3f} {percent(record.train_accuracy):>7}"
        f"  val {record.val_loss:6.3f} {percent(record.val_accuracy):>7}"
        f"  {record.images_per_second:,.0f} images/s"
    )


def ending_line(history: History, trial: TrialHistory) -> str:
    """Says how a trial ended, and where its search stands now."""
    error = f" ({trial.error})" if trial.error else ""
    line = f"{trial.trial_id} {in_words(trial.state)}{error} after {share_text(trial)} epochs"
    if score := score_text(history, trial):
        line += f", {score}"
    if stands_alone(history, trial):
        return line
    planned = history.planned_trials
    line = f"[{history.trials_over}{f'/{planned}' if planned else ''}] {line}"
    best = winning_trial(history)
    if best is None:
        return line
    return f"{line}, the best so far" if best is trial else f"{line}; {best_text(history, best)}"


def standing_line(history: History, *, now: float) -> str:
    """Says where a search stands, in one line."""
    epochs, speed = counted(history.epochs_trained, "epoch"), speed_text(history)
    amount = f"{epochs}, {speed}" if speed else epochs
    best = winning_trial(history)
    told = best_text(history, best) if best else "no result yet"
    return "; ".join([states_text(history), amount, times_text(history, now=now), told])
