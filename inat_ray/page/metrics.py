"""How the page shows a metric: its axis, its cells in tables, and its best value so far."""

import plotly.graph_objects as go
from markupsafe import Markup

from inat_ray.config.metrics import METRICS
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import EpochEnded, LookAtTest
from inat_ray.page.html import Number, plot
from inat_ray.terminal.words import interval_text, metric_text, percent
from inat_ray.training.scores import wilson_interval


def percent_axis(metric: str) -> dict[str, str]:
    """Returns the settings of an axis that shows the metric."""
    return {"tickformat": ".0%"} if METRICS[metric].is_share else {}


def metric_plot(
    figure: go.Figure,
    metric: str,
    *,
    label: str,
    title: str = "{}",
    caption: str = "",
    height: int = 420,
) -> Markup:
    """Returns a figure whose y axis is the metric.

    In `label` (see `plot`) and `title` (of the axis), {} stands for the metric's own label.
    """
    name = METRICS[metric].label
    figure.update_yaxes(title=title.format(name), **percent_axis(metric))
    return plot(figure, label=label.format(name), caption=caption, height=height)


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
    return wilson_interval(round(look.accuracy * look.images), look.images)


def accuracy_interval(look: LookAtTest) -> str:
    """Returns the same in words: '71.5 to 77.8 %'."""
    return interval_text(look_interval(look))


def results(history: History) -> list[tuple[TrialHistory, float]]:
    """Returns the search's trials that have a score, and the metric that it stands for."""
    scored = ((trial, history.score_value(trial)) for trial in history.searched)
    return [(trial, value) for trial, value in scored if value is not None]


def best_so_far(history: History) -> list[tuple[int, float, float]]:
    """Returns (epochs spent, time, value) wherever an epoch of the search gave it a better score.

    The last entry is that of the search's last epoch. Times are in seconds since 1970.
    """
    records = sorted((e for t in history.searched for e in t.epochs), key=lambda e: e.time)
    steps: list[tuple[int, float, float]] = []
    best: float | None = None
    for spent, record in enumerate(records, start=1):
        score = history.score_at(history.trials[record.trial_id], record.epoch)
        if score is not None and (best is None or score > best):
            best = score
            steps.append((spent, record.time, history.turned(best)))
    if steps:
        # The line goes on to the end of the search.
        steps.append((len(records), records[-1].time, steps[-1][2]))
    return steps
