"""Several runs beside each other."""

from collections.abc import Sequence

import plotly.graph_objects as go
from markupsafe import Markup

from inat_ray.config.difference import changes
from inat_ray.config.experiment import Experiment
from inat_ray.log.history import History
from inat_ray.page.colors import SERIES
from inat_ray.page.parts import (
    Cell,
    Number,
    Section,
    joined,
    missing,
    paragraph,
    plot,
    table,
)
from inat_ray.page.reported_run import ReportedRun
from inat_ray.page.trials import percent_axis
from inat_ray.search.winner import winning_trial
from inat_ray.terminal.estimate import duration
from inat_ray.terminal.leaderboard import LABELS, metric_text, parameters_text, percent
from inat_ray.training.assessment import wilson_interval

DASHES = ("solid", "dash", "dot")
"""Beside the colours, where there are more runs than these."""


def comparison_sections(runs: Sequence[ReportedRun]) -> list[Section]:
    """Results, the searches' progress, and where the experiments differ."""
    return [_results_section(runs), _progress_section(runs), _differences_section(runs)]


def _results_section(runs: Sequence[ReportedRun]) -> Section:
    columns = [
        "run",
        "trials",
        "epochs",
        "time",
        "best on validation",
        "test",
        "95 % interval",
        "best configuration",
    ]
    notes = [missing(f"{run.name}: {text}") for run in runs for text in run.missing]
    body = joined(
        table(columns, [_row(run) for run in runs], caption="The runs"),
        paragraph(
            "A test accuracy is that of one model; two whose intervals overlap widely are not told"
            " apart by it. Runs compare where they saw the same images."
        ),
        *notes,
    )
    return Section("Results", "results", body)


def _row(run: ReportedRun) -> list[Cell | Number]:
    history, look = run.history, run.look
    if history.started is None:
        return [run.name, *[None] * 7]
    winner = winning_trial(history)
    best = winner.best(history.run.metric) if winner else None
    metric = history.run.metric
    low, high = wilson_interval(round(look.accuracy * look.images), look.images) if look else (0, 0)
    return [
        run.name,
        len(history.searched),
        history.epochs_trained,
        Number(history.seconds, duration(history.seconds)),
        Number(getattr(best, metric), f"{LABELS[metric]} {metric_text(metric, best)}")
        if best
        else None,
        Number(look.accuracy, percent(look.accuracy)) if look else None,
        f"{percent(low)} to {percent(high)}" if look else None,
        parameters_text(winner.parameters) if winner else None,
    ]


def _progress_section(runs: Sequence[ReportedRun]) -> Section:
    """The best so far against the epochs that were spent on it."""
    figure = go.Figure()
    metrics = {run.history.run.metric for run in runs if run.history.started is not None}
    if len(metrics) != 1:
        text = "The runs have different metrics, so their progress is not drawn together."
        return Section("Progress", "progress", missing(text))
    (metric,) = metrics
    for place, run in enumerate(runs):
        epochs, values = best_by_epochs(run.history)
        figure.add_scatter(
            x=epochs,
            y=values,
            mode="lines",
            name=run.name,
            line={
                "shape": "hv",
                "width": 2,
                "color": SERIES[place % len(SERIES)],
                "dash": DASHES[place // len(SERIES) % len(DASHES)],
            },
        )
    figure.update_xaxes(title="epochs that the search had spent", rangemode="tozero")
    figure.update_yaxes(title=f"best {LABELS[metric]} so far", **percent_axis(metric))
    label = f"Best {LABELS[metric]} of {len(runs)} runs against epochs spent"
    return Section("Progress", "progress", plot(figure, label=label))


def best_by_epochs(history: History) -> tuple[list[int], list[float]]:
    """Epochs that all trials of a search had trained when it found a new best, and its values."""
    if history.started is None:
        return [], []
    records = sorted((e for t in history.searched for e in t.epochs), key=lambda e: e.time)
    spent, values = [], []
    best = float("-inf")
    for count, record in enumerate(records, start=1):
        if (score := history.score(record)) > best:
            best = score
            spent.append(count)
            values.append(getattr(record, history.run.metric))
    if spent:
        spent.append(len(records))
        values.append(values[-1])
    return spent, values


def _differences_section(runs: Sequence[ReportedRun]) -> Section:
    """Of each experiment from the first one that can be read."""
    known = [(run.name, run.experiment) for run in runs if run.experiment is not None]
    if len(known) < 2:
        text = "There are no two experiments that can be read."
        return Section("Where they differ", "differences", missing(text))
    (first, base), *others = known
    parts = [_changes_table(first, base, name, other) for name, other in others]
    return Section("Where they differ", "differences", joined(*parts))


def _changes_table(first: str, base: Experiment, name: str, other: Experiment) -> Markup:
    rows = changes(base, other)
    if not rows:
        return paragraph(f"{name} has the same settings as {first}.")
    return table(["setting", first, name], rows, caption=f"{name} beside {first}")
