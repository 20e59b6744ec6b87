"""What a person sees: the live table, plain lines where there is no terminal, final tables."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from inat_ray.tuning.result import Result
from inat_ray.tuning.run_log import (
    JSON,
    AnyRecord,
    EpochEnded,
    History,
    TrialEnded,
    TrialHistory,
    TrialStarted,
)

REFRESHES_PER_SECOND = 2
SHOWN_RUNNING = 8
SHOWN_IN_LEADERBOARD = 10


class RunProgress:
    """Follows a run's records: a live table in a terminal, a line an event elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.history = History()
        self._live: Live | None = None

    def __enter__(self) -> "RunProgress":
        if self.console.is_terminal:
            self._live = Live(
                get_renderable=lambda: live_view(self.history, now=time.time()),
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
        self.history.add(record)
        if self._live is None and (line := event_line(self.history, record)):
            self.console.print(escape(line), soft_wrap=True)


def event_line(history: History, record: AnyRecord) -> str | None:
    """What a log file should say of a record; None for nothing.

    Of a search it tells endings, of a single training every epoch.
    """
    match record:
        case TrialStarted(purpose="final"):
            return f"training {record.trial_id} with {parameters_text(record.parameters)}"
        case EpochEnded():
            trial = history.trials[record.trial_id]
            single = trial.purpose == "final" or (history.run and history.run.trials == 1)
            return _epoch_line(record, trial) if single else None
        case TrialEnded():
            trial = history.trials[record.trial_id]
            return _ending_line(history, trial) if trial.purpose == "search" else None
        case _:
            return None


def live_view(history: History, *, now: float) -> RenderableType:
    """The state of a run at `now` (seconds since 1970)."""
    if history.run is None:
        return Text("starting")
    running = [t for t in history.trials.values() if t.state == "running"]
    table = Table(box=None, pad_edge=False)
    for name, justify in (("trial", "left"), ("epoch", "right"), ("val acc", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("images/s", justify="right")
    table.add_column("parameters", overflow="ellipsis", no_wrap=True, ratio=1)
    for trial in running[:SHOWN_RUNNING]:
        newest = trial.epochs[-1] if trial.epochs else None
        table.add_row(
            trial.trial_id,
            f"{len(trial.epochs)}/{trial.planned_epochs}",
            percent(newest.val_accuracy) if newest else "",
            f"{newest.images_per_second:,.0f}" if newest else "",
            parameters_text(trial.parameters),
        )
    return Group(headline(history, now=now), _best_line(history), table)


def headline(history: History, *, now: float) -> Text:
    """Name, trials by state, epochs, speed, time passed and left."""
    assert history.run is not None
    parts = [f"{history.run.name}: {states_text(history)}"]
    parts.append(f"{sum(len(t.epochs) for t in history.trials.values())} epochs")
    running = [t for t in history.trials.values() if t.state == "running" and t.epochs]
    if running:
        speed = sum(t.epochs[-1].images_per_second for t in running)
        parts.append(f"{speed:,.0f} images/s")
    parts.append(duration(now - history.run.time))
    left = seconds_left(history, now=now)
    if left is not None:
        parts.append(f"about {duration(left)} left")
    return Text(", ".join(parts), style="bold", overflow="ellipsis", no_wrap=True)


def seconds_left(history: History, *, now: float) -> float | None:
    """An estimate from the pace of the trials so far; None before the first has ended.

    A running trial counts by the share of its epochs that is done.
    """
    assert history.run is not None
    ended = [t for t in history.searched if t.state != "running"]
    if not ended:
        return None
    partial = sum(
        len(t.epochs) / t.planned_epochs for t in history.searched if t.state == "running"
    )
    done = len(ended) + partial
    return max(0.0, (now - history.run.time) * (history.run.trials - done) / done)


def leaderboard_table(history: History, *, most: int = SHOWN_IN_LEADERBOARD) -> Table:
    """The best trials; narrow enough for 80 columns with a handful of parameters."""
    assert history.run is not None
    ranking = history.leaderboard()
    rest = len(history.searched) - min(most, len(ranking))
    table = Table(
        title=f"{history.run.name}: {states_text(history)}",
        caption=f"and {rest} more in trials.parquet" if rest else None,
        title_justify="left",
        caption_justify="left",
    )
    for name in ("#", "trial", "val acc", "epochs", "state"):
        table.add_column(name, no_wrap=True)
    table.add_column("parameters", overflow="fold")
    for rank, trial in enumerate(ranking[:most], start=1):
        best = trial.best(history.run.metric, history.run.goal)
        assert best is not None
        table.add_row(
            str(rank),
            trial.trial_id.removeprefix("trial_"),
            percent(best.val_accuracy),
            f"{len(trial.epochs)}/{trial.planned_epochs}",
            trial.state,
            parameters_text(trial.parameters),
        )
    return table


def result_table(result: Result) -> Table:
    """A result's numbers, one a line; nested parts are left to result.json."""
    table = Table(title="result", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for key, value in result.items():
        if not isinstance(value, dict):
            table.add_row(key, _shown(key, value))
    return table


def parameters_text(parameters: dict[str, JSON]) -> str:
    """Short names and values: lr=0.003 filters=32-64-128."""
    short = short_names(list(parameters))
    return " ".join(f"{short[name]}={value_text(v)}" for name, v in parameters.items())


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Each dotted name's last part, or the whole name where that is not unique."""
    last = {name: name.rpartition(".")[2] for name in names}
    counts = Counter(last.values())
    return {name: part if counts[part] == 1 else name for name, part in last.items()}


def value_text(value: JSON) -> str:
    if isinstance(value, list):
        return "-".join(value_text(item) for item in value)
    if isinstance(value, float):
        return f"{value:.3g}"
    return value if isinstance(value, str) else json.dumps(value)


def states_text(history: History) -> str:
    """12 trials: 3 finished, 9 stopped."""
    assert history.run is not None
    counts = Counter(trial.state for trial in history.searched)
    shown = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    return f"{len(history.searched)} of {history.run.trials} trials ({shown or 'none yet'})"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def duration(seconds: float) -> str:
    """1:02:03, or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _best_line(history: History) -> Text:
    ranking = history.leaderboard()
    if not ranking:
        return Text("no result yet")
    best = ranking[0]
    value = max(_finite_accuracies([best]))
    text = f"best {percent(value)}  {best.trial_id}  {parameters_text(best.parameters)}"
    return Text(text, style="green", overflow="ellipsis", no_wrap=True)


def _finite_accuracies(trials: Iterable[TrialHistory]) -> list[float]:
    best = [trial.best("val_accuracy", "maximize") for trial in trials]
    return [record.val_accuracy for record in best if record is not None]


def _epoch_line(record: EpochEnded, trial: TrialHistory) -> str:
    return (
        f"epoch {record.epoch}/{trial.planned_epochs}"
        f"  train loss {record.train_loss:.3f} accuracy {percent(record.train_accuracy)}"
        f"  val loss {record.val_loss:.3f} accuracy {percent(record.val_accuracy)}"
        f"  {record.images_per_second:,.0f} images/s"
    )


def _ending_line(history: History, trial: TrialHistory) -> str | None:
    assert history.run is not None
    ended = sum(t.state != "running" for t in history.searched)
    scores = _finite_accuracies([trial])
    score = f" val accuracy {percent(scores[0])}" if scores else ""
    leader = max(_finite_accuracies(history.searched), default=None)
    best = f", best so far {percent(leader)}" if leader is not None else ""
    error = f" ({trial.error})" if trial.error else ""
    return (
        f"[{ended}/{history.run.trials}] {trial.trial_id} {trial.state}{error}"
        f" after {len(trial.epochs)} epochs{score}{best}  {parameters_text(trial.parameters)}"
    )


def _shown(key: str, value: JSON) -> str:
    if isinstance(value, float) and key.endswith("accuracy"):
        return percent(value)
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
