"""A page that compares several runs."""

from collections.abc import Sequence

import plotly.graph_objects as go
from markupsafe import Markup

from inat_ray.config.difference import changes
from inat_ray.config.experiment import Experiment
from inat_ray.config.metrics import METRICS
from inat_ray.page.colors import SERIES
from inat_ray.page.html import (
    Cell,
    Number,
    Section,
    joined,
    missing,
    paragraph,
    plot,
    table,
)
from inat_ray.page.metrics import best_so_far, metric_axis, share_cell
from inat_ray.page.reported_run import ReportedRun
from inat_ray.search.winner import winning_trial
from inat_ray.terminal.standing import score_text
from inat_ray.terminal.words import duration, interval_text, parameters_text
from inat_ray.training.assessment import wilson_interval

DASHES = ("solid", "dash", "dot")
"""Tell runs apart where there are more of them than colors."""


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
            "A test accuracy belongs to one model; it does not tell two models apart whose"
            " intervals overlap widely. Runs are comparable if they saw the same images."
        ),
        *notes,
    )
    return Section("Results", "results", body)


def _row(run: ReportedRun) -> list[Cell]:
    history, look = run.history, run.look
    if history.started is None:
        return [run.name, *[None] * 7]
    winner = winning_trial(history)
    best = history.best_value(winner) if winner else None
    best_score = score_text(history, winner) if winner else None
    interval = wilson_interval(round(look.accuracy * look.images), look.images) if look else None
    return [
        run.name,
        len(history.searched),
        history.epochs_trained,
        Number(history.seconds, duration(history.seconds)),
        Number(best, best_score) if best is not None and best_score else None,
        share_cell(look.accuracy if look else None),
        interval_text(interval) if interval else None,
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
        steps = best_so_far(run.history)
        figure.add_scatter(
            x=[spent for spent, _, _ in steps],
            y=[value for _, _, value in steps],
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
    metric_axis(figure, metric, title="best {} so far")
    label = f"Best {METRICS[metric].label} of {len(runs)} runs against epochs spent"
    return Section("Progress", "progress", plot(figure, label=label))


def _differences_section(runs: Sequence[ReportedRun]) -> Section:
    """How each experiment differs from the first one that can be read."""
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
