"""How the page shows a metric: its axis, its cells in tables, and its best value so far."""

from collections.abc import Iterable

from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import EpochEnded, LookAtTest
from inat_ray.log.score import Score
from inat_ray.page.axes import Axis, of_metric
from inat_ray.page.html import Number
from inat_ray.terminal.words import metric_text, percent
from inat_ray.training.scores import wilson_interval

Steps = list[tuple[int, EpochEnded, float]]
"""How the best so far rises, see `best_so_far`."""


def score_axis(history: History, values: Iterable[float]) -> Axis:
    """Returns the axis of what trials are compared by."""
    return of_metric(history.run.metric, values, title=score_title(history))


def score_title(history: History) -> str:
    """Returns the axis' title, in which {} stands for the metric's label."""
    return "{}" if history.stretch == 1 else "score ({})"


def metric_cell(metric: str, record: EpochEnded | None) -> Number | None:
    """Returns the metric after an epoch, as a table shows and sorts it."""
    if record is None:
        return None
    value = getattr(record, metric)
    return Number(value, metric_text(metric, value))


def share_cell(share: float | None) -> Number | None:
    return None if share is None else Number(share, percent(share))


def look_interval(look: LookAtTest) -> tuple[float, float]:
    """Returns the 95 % interval of a test accuracy."""
    return wilson_interval(look.accuracy, look.images)


def results(history: History) -> list[tuple[TrialHistory, float]]:
    """Returns the search's trials that have a score, and the metric that it stands for."""
    scored = ((trial, history.score_value(trial)) for trial in history.searched)
    return [(trial, value) for trial, value in scored if value is not None]


def best_so_far(history: History) -> Steps:
    """Returns (epochs spent, the last of them, value) wherever it gave the search a better score.

    The first whole stretch is better than any single epoch, so the value may fall. The last entry
    is that of the search's last epoch.
    """
    records = sorted((e for t in history.searched for e in t.epochs), key=lambda e: e.time)
    steps: Steps = []
    best: Score | None = None
    for spent, record in enumerate(records, start=1):
        score = history.score_of(history.trials[record.trial_id], at=record.epoch)
        if score is not None and (best is None or score > best):
            best = score
            steps.append((spent, record, history.turned(best.value)))
    if steps:
        # The line goes on to the end of the search.
        steps.append((len(records), records[-1], steps[-1][2]))
    return steps


def single_steps(history: History, steps: Steps) -> int:
    """Returns how many steps of the best so far are single epochs: no trial had a stretch yet."""
    scores = (history.score_of(history.trials[r.trial_id], at=r.epoch) for _, r, _ in steps)
    return next((i for i, score in enumerate(scores) if score and score.whole), len(steps))


def fall_text(history: History, steps: Steps) -> str:
    """Returns a sentence that explains why the best so far may fall; empty if it does not."""
    if not single_steps(history, steps):
        return ""
    epochs = min(history.stretch, history.run.epochs)
    return (
        f" Until a trial has {epochs} epochs in a row, the best so far is the best single epoch,"
        " the luckiest; there the line may fall."
    )
