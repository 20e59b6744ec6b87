"""The progress of a run: a live table in a terminal, a line an event elsewhere."""

import statistics
import threading
import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from inat_ray.inspection.leaderboard import (
    LABELS,
    metric_text,
    parameters_text,
    percent,
    states_text,
)
from inat_ray.search.history import History, TrialHistory
from inat_ray.search.records import AnyRecord, EpochEnded, TrialEnded, TrialResumed, TrialStarted

REFRESHES_PER_SECOND = 2
SECONDS_BETWEEN_LINES = 10.0
"""Without a terminal: how often a search says where it stands while no trial begins or ends."""
SHOWN_RUNNING = 8
BAR_WIDTH = 24
UNDER_WAY = ("running", "paused", "interrupted")


class RunProgress:
    """Follows a run's records, in a terminal that can redraw or as plain lines."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.history = History()
        self._lock = threading.Lock()
        """Held while the history changes or is drawn: Live draws in a thread of its own."""
        self._live: Live | None = None
        self._last_line = 0.0
        """When a line was last written, by the clock of the records."""

    def __enter__(self) -> "RunProgress":
        if self.console.is_terminal and not self.console.is_dumb_terminal:
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

    def catch_up(self, record: AnyRecord) -> None:
        """Takes in what happened before, and says nothing."""
        self.history.add(record)

    def _view(self) -> RenderableType:
        with self._lock:
            return live_view(self.history, now=time.time())

    def _line(self, record: AnyRecord) -> str | None:
        """In a terminal only what is to stay above the live table: epochs, and errors."""
        line = event_line(self.history, record)
        if self._live is not None:
            stays = isinstance(record, EpochEnded) or getattr(record, "error", None)
            return line if stays else None
        due = record.time - self._last_line >= SECONDS_BETWEEN_LINES
        if line is None and due and isinstance(record, EpochEnded):
            return standing_line(self.history, now=record.time)
        return line


def live_view(history: History, *, now: float) -> RenderableType:
    """The state of a run at `now` (seconds since 1970)."""
    if history.run is None:
        return Text("starting")
    counts = f"{states_text(history)}; {_epochs_and_speed(history)}"
    parts: list[RenderableType] = [_bar(history, now=now), counts]
    if best := best_text(history):
        shown = parameters_text(history.leaderboard()[0].parameters)
        parts.append(_one_line(f"{best}  {shown}", style="green"))
    if running := _running(history):
        parts.append(_running_table(running))
    return Group(*parts)


def event_line(history: History, record: AnyRecord) -> str | None:
    """What a log file should say of a record; None for nothing.

    Of a trial in a search it tells start and end, of a training by itself every epoch.
    """
    match record:
        case TrialStarted():
            shown = parameters_text(record.parameters)
            return f"{record.trial_id} starts, {record.epochs} epochs  {shown}".rstrip()
        case TrialResumed():
            return f"{record.trial_id} goes on after epoch {record.epochs}"
        case EpochEnded():
            trial = history.trials[record.trial_id]
            return epoch_line(record, trial) if stands_alone(history, trial) else None
        case TrialEnded():
            return ending_line(history, history.trials[record.trial_id])
        case _:
            return None


def stands_alone(history: History, trial: TrialHistory) -> bool:
    """Whether it is a training by itself: the winner's, or the one of `train`."""
    assert history.run is not None
    return trial.purpose == "final" or history.run.method == "train"


def epoch_line(record: EpochEnded, trial: TrialHistory) -> str:
    width = len(str(trial.planned_epochs))
    return (
        f"epoch {record.epoch:{width}}/{trial.planned_epochs}"
        f"  train {record.train_loss:6.3f} {percent(record.train_accuracy):>7}"
        f"  val {record.val_loss:6.3f} {percent(record.val_accuracy):>7}"
        f"  {record.images_per_second:,.0f} images/s"
    )


def ending_line(history: History, trial: TrialHistory) -> str:
    """How a trial ended, and of a trial in a search where the search stands."""
    error = f" ({trial.error})" if trial.error else ""
    line = f"{trial.trial_id} {trial.state}{error} after {_epochs(trial)} epochs"
    if score := _score(history, trial):
        line += f", {score}"
    if stands_alone(history, trial):
        return line
    assert history.run is not None
    ended = sum(t.state != "running" for t in history.searched)
    best = best_text(history)
    return f"[{ended}/{history.planned_trials}] {line}" + (f"; {best}" if best else "")


def standing_line(history: History, *, now: float) -> str:
    """Where a search stands, in one line."""
    parts = [states_text(history), _epochs_and_speed(history), times_text(history, now=now)]
    return "; ".join([*parts, best_text(history) or "no result yet"])


def best_text(history: History) -> str | None:
    """'best val acc 91.2 % (trial_0004)'; None before there is a result."""
    ranking = history.leaderboard()
    if not ranking:
        return None
    return f"best {_score(history, ranking[0])} ({ranking[0].trial_id})"


def times_text(history: History, *, now: float) -> str:
    """'2:03 gone, about 4:00 left'."""
    gone = f"{duration(history.seconds_at(now))} gone"
    left = seconds_left(history, now=now)
    return gone if left is None else f"{gone}, about {duration(left)} left"


def seconds_left(history: History, *, now: float) -> float | None:
    """An estimate from the pace so far; None before the first epoch and after the last."""
    alone = _alone(history)
    if alone is not None:
        return _seconds_left_of_training(alone, now=now)
    return _seconds_left_of_search(history, now=now)


def _seconds_left_of_training(trial: TrialHistory, *, now: float) -> float | None:
    """By the mean time of its epochs; of the one under way what has passed already is off."""
    left = trial.planned_epochs - len(trial.epochs)
    if left <= 0 or not trial.epochs:
        return None
    pace = statistics.mean(epoch.seconds for epoch in trial.epochs)
    return left * pace - min(now - trial.epochs[-1].time, pace)


def _seconds_left_of_search(history: History, *, now: float) -> float | None:
    """In trials, of which one under way counts by the share of its epochs that is done.

    So the estimate learns what early stopping saves. None once the search is over: how long its
    confirmation takes the log does not tell.
    """
    if history.ended is not None:
        return None
    done, total = _trials_done(history), history.planned_trials
    return history.seconds_at(now) * (total - done) / done if 0 < done < total else None


def _trials_done(history: History) -> float:
    return sum(
        len(trial.epochs) / trial.planned_epochs if trial.state in UNDER_WAY else 1.0
        for trial in history.searched
    )


def _alone(history: History) -> TrialHistory | None:
    """The training by itself that the run is at, if it is at one."""
    trials = [trial for trial in history.trials.values() if trial.state == "running"]
    return next((trial for trial in trials if stands_alone(history, trial)), None)


def duration(seconds: float) -> str:
    """1:02:03, or 2:03."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _bar(history: History, *, now: float) -> RenderableType:
    assert history.run is not None
    alone = _alone(history)
    done, total = (
        (len(alone.epochs), alone.planned_epochs)
        if alone is not None
        else (_trials_done(history), history.planned_trials)
    )
    line = Table.grid(padding=(0, 2))
    line.add_row(
        _one_line(history.run.name, style="bold"),
        ProgressBar(total=total, completed=done, width=BAR_WIDTH),
        times_text(history, now=now),
    )
    return line


def _epochs_and_speed(history: History) -> str:
    epochs = sum(len(trial.epochs) for trial in history.trials.values())
    speed = sum(t.epochs[-1].images_per_second for t in _running(history) if t.epochs)
    return f"{epochs} epochs" + (f", {speed:,.0f} images/s" if speed else "")


def _running_table(running: list[TrialHistory]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("running", "epoch", "val acc", "images/s"):
        table.add_column(title, justify="left" if title == "running" else "right", no_wrap=True)
    # Not `no_wrap`, so that where room is short it is this column that gives way.
    table.add_column("", style="dim")
    for trial in running[:SHOWN_RUNNING]:
        newest = trial.epochs[-1] if trial.epochs else None
        table.add_row(
            trial.trial_id,
            _epochs(trial),
            percent(newest.val_accuracy) if newest else "",
            f"{newest.images_per_second:,.0f}" if newest else "",
            _one_line(parameters_text(trial.parameters)),
        )
    if len(running) > SHOWN_RUNNING:
        table.add_row(f"and {len(running) - SHOWN_RUNNING} more")
    return table


def _one_line(text: str, *, style: str = "") -> Text:
    return Text(text, style=style, overflow="ellipsis", no_wrap=True)


def _running(history: History) -> list[TrialHistory]:
    return [trial for trial in history.trials.values() if trial.state == "running"]


def _epochs(trial: TrialHistory) -> str:
    return f"{len(trial.epochs)}/{trial.planned_epochs}"


def _score(history: History, trial: TrialHistory) -> str | None:
    """A trial's best value of the run's metric: 'val acc 91.2 %'."""
    assert history.run is not None
    metric = history.run.metric
    best = trial.best(metric, history.run.goal)
    return None if best is None else f"{LABELS[metric]} {metric_text(metric, best)}"
