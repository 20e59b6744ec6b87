"""A search trial by trial: leaderboard, results over time, learning curves, rungs."""

from collections.abc import Sequence

import plotly.graph_objects as go
from markupsafe import Markup

from inat_ray.config.metrics import METRICS
from inat_ray.config.search import EarlyStopping
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import EpochEnded
from inat_ray.page.colors import ORANGE, STATES
from inat_ray.page.html import Cell, Number, Section, joined, paragraph, plot, table
from inat_ray.page.metrics import best_so_far, metric_axis, metric_cell
from inat_ray.search.stopping import at_rung
from inat_ray.terminal.search_tables import shown_metrics
from inat_ray.terminal.standing import share_text
from inat_ray.terminal.words import cells_text, short_names

MOST_ROWS = 500
"""The most rows of the leaderboard; all trials are in trials.parquet."""

EACH_EPOCH_NAMED = 12
"""Up to this many epochs, the axis names each; plotly would also name halves."""

MOST_CURVES = 300
"""The most curves in one plot: those of the best trials."""

CURVES = "learning-curves"


def leaderboard_section(history: History) -> Section:
    """Every trial, best first; those without a result last."""
    ranked = history.leaderboard()
    with_result = {trial.trial_id for trial in ranked}
    others = [trial for trial in history.searched if trial.trial_id not in with_result]
    shown = [*ranked, *others][:MOST_ROWS]
    names = short_names(list(history.run.parameters))
    metrics = shown_metrics(history.run.metric)
    columns = [
        "#",
        "trial",
        *(METRICS[metric].label for metric in metrics),
        "epochs",
        "state",
        "seconds",
        *names.values(),
    ]
    rows = [
        _row(history, trial, rank=rank, metrics=metrics, names=list(names))
        for rank, trial in enumerate(shown, start=1)
    ]
    left_out = len(history.searched) - len(shown)
    caption = "All trials, best first. Click a name to see the trial's curve, a column to sort."
    if left_out:
        caption += f" {left_out} more are in trials.parquet."
    return Section("Leaderboard", "leaderboard", table(columns, rows, caption=caption))


def _row(
    history: History,
    trial: TrialHistory,
    *,
    rank: int,
    metrics: Sequence[str],
    names: Sequence[str],
) -> list[Cell]:
    best = trial.best(history.run.metric)
    state = f"{trial.state}: {trial.error}" if trial.error else trial.state
    return [
        rank if best is not None else None,
        Markup('<a href="#{}" data-trial="{}">{}</a>').format(
            CURVES, trial.trial_id, trial.trial_id
        ),
        *(metric_cell(metric, best) for metric in metrics),
        Number(len(trial.epochs), share_text(trial)),
        state,
        Number(seconds := sum(epoch.seconds for epoch in trial.epochs), f"{seconds:.1f}"),
        *(_parameter(trial, name) for name in names),
    ]


def _parameter(trial: TrialHistory, name: str) -> Cell:
    value = trial.parameters.get(name)
    (text,) = cells_text(trial.parameters, [name])
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Number(float(value), text)
    return None if name not in trial.parameters else text


def progress_section(history: History) -> Section:
    """Each trial's result at the time of its start, and the best so far."""
    begin, metric = history.run.time, history.run.metric
    figure = go.Figure()
    for state, (color, symbol) in STATES.items():
        trials = [(t, best) for t, best in _results(history) if t.state == state]
        if trials:
            figure.add_scatter(
                x=[(trial.started - begin) / 60 for trial, _ in trials],
                y=[getattr(best, metric) for _, best in trials],
                text=[trial.trial_id for trial, _ in trials],
                mode="markers",
                name=state,
                marker={"color": color, "symbol": symbol, "size": 9},
                hovertemplate="%{text}<br>%{x:.1f} min, %{y:.4f}",
            )
    steps = best_so_far(history)
    figure.add_scatter(
        x=[(time - begin) / 60 for _, time, _ in steps],
        y=[value for _, _, value in steps],
        mode="lines",
        name="best so far",
        line={"shape": "hv", "color": ORANGE, "width": 2},
    )
    figure.update_xaxes(title="minutes since the start")
    metric_axis(figure, metric)
    caption = (
        "A point stands where its trial started; the line steps where an epoch set a new best."
        " The result of a trial that was stopped early is that of its best epoch."
    )
    label = f"{METRICS[metric].label} of {len(list(_results(history)))} trials by their start"
    return Section("Results over time", "progress", plot(figure, label=label, caption=caption))


def curves_section(history: History) -> Section:
    """The metric after each epoch, of every trial and of the trainings after the search."""
    metric = history.run.metric
    trials = [trial for trial in history.leaderboard() if trial.epochs][:MOST_CURVES]
    others = [t for t in history.trials.values() if t.purpose != "search" and t.epochs]
    figure = go.Figure()
    legend: set[str] = set()
    # The best are on top, and many lines are fainter than a few.
    opacity = max(0.25, min(0.75, 30 / max(1, len(trials))))
    for trial in reversed(trials):
        figure.add_trace(_curve(trial, metric, legend, opacity=opacity))
    for trial in others:
        figure.add_trace(_curve(trial, metric, legend, opacity=1.0))
    longest = max((len(trial.epochs) for trial in [*trials, *others]), default=0)
    whole = {"dtick": 1} if longest <= EACH_EPOCH_NAMED else {}
    figure.update_xaxes(title="epoch", rangemode="tozero", **whole)
    metric_axis(figure, metric)
    caption = "Each line is a trial; its last point shows how it ended."
    if len(trials) < len(history.leaderboard()):
        caption += f" The best {MOST_CURVES} trials are drawn."
    count = len(trials) + len(others)
    label = f"Learning curves of {count} trainings: {METRICS[metric].label} by epoch"
    return Section(
        "Learning curves", CURVES, plot(figure, label=label, caption=caption, height=480)
    )


def _curve(trial: TrialHistory, metric: str, legend: set[str], *, opacity: float) -> go.Scatter:
    """One trial's curve; all trials of a kind share an entry of the legend."""
    color, symbol = STATES[trial.state]
    kind = (
        trial.state
        if trial.purpose == "search"
        else {"confirm": "confirmation"}.get(trial.purpose, "winner's training")
    )
    first = kind not in legend
    legend.add(kind)
    last = len(trial.epochs) - 1
    searched = trial.purpose == "search"
    return go.Scatter(
        x=[record.epoch for record in trial.epochs],
        y=[getattr(record, metric) for record in trial.epochs],
        mode="lines+markers",
        name=kind,
        legendgroup=kind,
        showlegend=first,
        meta=trial.trial_id,
        line={
            "color": color if searched else ORANGE,
            "width": 1.5 if searched else 2.5,
            "dash": "solid" if trial.purpose != "confirm" else "dot",
        },
        marker={"symbol": symbol, "size": [3] * last + [9]},
        opacity=opacity,
        hovertemplate=f"{trial.trial_id}<br>epoch %{{x}}: %{{y:.4f}}<extra></extra>",
    )


def rungs_section(history: History, settings: EarlyStopping) -> Section:
    """Which trials reached each rung of successive halving, and which of them went on."""
    metric = history.run.metric
    last = max((len(trial.epochs) for trial in history.searched), default=0)
    rungs = [epoch for epoch in range(1, last) if at_rung(settings, epoch)]
    figure = go.Figure()
    rows: list[list[Cell]] = []
    for name, symbol, goes_on in (("went on", "circle", True), ("ended there", "x", False)):
        points = [(e, r) for e in rungs for r, on in _at_rung(history, e) if on is goes_on]
        figure.add_scatter(
            x=[f"epoch {epoch}" for epoch, _ in points],
            y=[getattr(record, metric) for _, record in points],
            text=[record.trial_id for _, record in points],
            mode="markers",
            name=name,
            marker={
                "symbol": symbol,
                "size": 9,
                "color": STATES["finished" if goes_on else "stopped"][0],
            },
            hovertemplate="%{text}<br>%{y:.4f}",
        )
    for epoch in rungs:
        there = _at_rung(history, epoch)
        on = [record for record, goes_on in there if goes_on]
        lowest = min(on, key=history.score, default=None)
        rows.append([epoch, len(there), len(on), metric_cell(metric, lowest)])
    figure.update_xaxes(title="rung", categoryarray=[f"epoch {e}" for e in rungs], type="category")
    metric_axis(figure, metric)
    columns = ["after epoch", "trials there", "went on", "worst that went on"]
    text = (
        f"{settings.kind}: at each rung, the best 1/{settings.reduction_factor} of the trials that"
        " have reached it so far go on; the first to arrive have few to be compared with."
    )
    label = "Trials at each rung, and which of them went on"
    body = joined(
        paragraph(text),
        plot(figure, label=label),
        table(columns, rows, caption="Rungs", sortable=False),
    )
    return Section("Early stopping", "rungs", body)


def _at_rung(history: History, epoch: int) -> list[tuple[EpochEnded, bool]]:
    """The record of each trial that reached the rung, and whether it trained further."""
    return [
        (trial.epochs[epoch - 1], len(trial.epochs) > epoch)
        for trial in history.searched
        if epoch <= len(trial.epochs) and epoch < trial.planned_epochs
    ]


def _results(history: History) -> list[tuple[TrialHistory, EpochEnded]]:
    """The search's trials with a result, and the epoch that gave it."""
    metric = history.run.metric
    return [(t, best) for t in history.searched if (best := t.best(metric)) is not None]
