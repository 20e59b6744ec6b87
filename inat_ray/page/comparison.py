"""A page that compares several runs."""

from collections.abc import Sequence

import plotly.graph_objects as go
from markupsafe import Markup

from inat_ray.config.difference import changes
from inat_ray.config.experiment import Experiment
from inat_ray.log.history import History, TrialHistory
from inat_ray.page.colors import SERIES
from inat_ray.page.html import Cell, Number, Section, missing, paragraph, table
from inat_ray.page.metrics import accuracy_interval, best_so_far, metric_plot, share_cell
from inat_ray.page.reported_run import ReportedRun
from inat_ray.search.winner import winning_trial
from inat_ray.terminal.run_texts import score_text
from inat_ray.terminal.words import duration, parameters_text

COLUMNS = [
    "run",
    "trials",
    "epochs",
    "time",
    "best on validation",
    "test",
    "95 % interval",
    "best configuration",
]

DASHES = ("solid", "dash", "dot")
"""Tell runs apart where there are more of them than colors."""


def comparison_sections(runs: Sequence[ReportedRun]) -> list[Section]:
    """Returns results, the searches' progress, and where the experiments differ."""
    text = (
        "A test accuracy belongs to one model; it does not tell two models apart whose intervals"
        " overlap widely. Runs are comparable if they saw the same images."
    )
    notes = [missing(f"{run.name}: {text}") for run in runs for text in run.missing]
    rows = table(COLUMNS, [_row(run) for run in runs], caption="The runs")
    return [
        Section("Results", "results", rows, paragraph(text), *notes),
        Section("Progress", "progress", _progress(runs)),
        Section("Where they differ", "differences", *_differences(runs)),
    ]


def _row(run: ReportedRun) -> list[Cell]:
    history, look = run.history, run.look
    if history.started is None:
        return [run.name, *[None] * (len(COLUMNS) - 1)]
    winner = winning_trial(history)
    return [
        run.name,
        len(history.searched),
        history.epochs_trained,
        Number(history.seconds, duration(history.seconds)),
        _best_cell(history, winner) if winner else None,
        share_cell(look.accuracy) if look else None,
        accuracy_interval(look) if look else None,
        parameters_text(winner.parameters) if winner else None,
    ]


def _best_cell(history: History, winner: TrialHistory) -> Cell:
    score, text = history.score_value(winner), score_text(history, winner)
    return None if score is None or text is None else Number(score, text)


def _progress(runs: Sequence[ReportedRun]) -> Markup:
    """Draws the best so far against the epochs that were spent on it."""
    metrics = {run.history.run.metric for run in runs if run.history.started is not None}
    if len(metrics) != 1:
        return missing("The runs have different metrics, so their progress is not drawn together.")
    (metric,) = metrics
    figure = go.Figure()
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
    label = f"Best {{}} of {len(runs)} runs against epochs spent"
    return metric_plot(figure, metric, label=label, title="best {} so far")


def _differences(runs: Sequence[ReportedRun]) -> list[Markup]:
    """Returns how each experiment differs from the first one that can be read."""
    known = [(run.name, run.experiment) for run in runs if run.experiment is not None]
    if len(known) < 2:
        return [missing("Fewer than two experiments can be read.")]
    (first, base), *others = known
    return [_changes_table(first, base, name, other) for name, other in others]


def _changes_table(first: str, base: Experiment, name: str, other: Experiment) -> Markup:
    rows = changes(base, other)
    if not rows:
        return paragraph(f"{name} has the same settings as {first}.")
    return table(["setting", first, name], rows, caption=f"{name} beside {first}")
