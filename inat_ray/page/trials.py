"""A search trial by trial: results over time, learning curves, cost, rungs."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

from inat_ray.config.search import EarlyStopping
from inat_ray.log.costs import Cost
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import EpochEnded
from inat_ray.page.colors import GRAY, ORANGE, STATES
from inat_ray.page.html import Cell, Section, beside, paragraph, table
from inat_ray.page.leaderboard import CURVES, cost_cell, score_cell
from inat_ray.page.metrics import best_so_far, metric_cell, metric_plot, results
from inat_ray.search.front import Fronts, is_judged
from inat_ray.search.schedulers import at_rung
from inat_ray.terminal.run_texts import score_meaning

EACH_EPOCH_NAMED = 12
"""Up to this many epochs, the axis names each; plotly would also name halves."""

MOST_CURVES = 300
"""The most curves in one plot: those of the best trials."""


def progress_section(history: History) -> Section:
    """Draws each trial's result at the time of its start, and the best so far."""
    begin, metric = history.run.time, history.run.metric
    found = results(history)
    figure = go.Figure()
    for state, (color, symbol) in STATES.items():
        there = [(trial, value) for trial, value in found if trial.state == state]
        if there:
            figure.add_scatter(
                x=[(trial.started - begin) / 60 for trial, _ in there],
                y=[value for _, value in there],
                text=[trial.trial_id for trial, _ in there],
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
    caption = (
        "A point stands where its trial started; the line steps where an epoch set a new best."
        f" {score_meaning(history).capitalize() or 'Each trial counts with its best epoch'}."
    )
    label = f"{{}} of {len(found)} trials by their start"
    drawn = metric_plot(figure, metric, label=label, caption=caption)
    return Section("Results over time", "progress", drawn)


def front_section(history: History, found: Fronts) -> Section:
    """Draws score against each cost in which the trials differ, and lists those on the fronts."""
    shown = {trial.trial_id for _, trials in found for trial in trials}
    rows: list[list[Cell]] = [
        [
            rank,
            trial.trial_id,
            score_cell(history, trial),
            *(cost_cell(trial, cost) for cost, _ in found),
            ", ".join(cost.label for cost, front in found if trial in front),
        ]
        for rank, trial in enumerate(history.leaderboard(), start=1)
        if trial.trial_id in shown
    ]
    columns = ["#", "trial", "score", *(cost.label for cost, _ in found), "best for its"]
    text = (
        "A trial is on a front if no other one costs as little and is as good. Hollow points are"
        " trials that ended too early to be judged. Gaps smaller than those between seeds say"
        " little. inat-ray sweep --resume RUN --pick TRIAL trains another one than the"
        " winner, and keeps that as the run's model."
    )
    plots = beside(_front_plot(history, cost, trials) for cost, trials in found)
    listed = table(columns, rows, caption="The trials on the fronts, best first")
    return Section("Cost beside accuracy", "front", paragraph(text), plots, listed)


def _front_plot(history: History, cost: Cost, on_front: list[TrialHistory]) -> Markup:
    """Draws all trials by a cost, and the front as a line that steps from the cheapest on."""
    known = [trial for trial in history.leaderboard() if cost.of(trial) is not None]
    judged = [trial for trial in known if is_judged(history, trial)]
    others = [trial for trial in known if not is_judged(history, trial)]
    traces: list[tuple[str, list[TrialHistory], dict[str, Any]]] = [
        ("trials", judged, {"mode": "markers"}),
        ("ended early", others, {"mode": "markers", "marker": {"symbol": "circle-open"}}),
        ("front", on_front, {"line": {"shape": "hv"}, "mode": "lines+markers"}),
    ]
    figure = go.Figure()
    for name, trials, look in traces:
        if trials:
            figure.add_scatter(
                x=[cost.of(trial) for trial in trials],
                y=[history.score_value(trial) for trial in trials],
                text=[trial.trial_id for trial in trials],
                name=name,
                hovertemplate="%{text}<br>%{x:.4g}, %{y:.4f}",
                **look,
            )
            figure.data[-1].marker.color = ORANGE if trials is on_front else GRAY
    figure.update_xaxes(title=cost.label, type="log")
    label = f"{{}} of {len(known)} trials by their {cost.label}; {len(on_front)} are on the front"
    return metric_plot(figure, history.run.metric, label=label, height=360)


def curves_section(history: History) -> Section:
    """Draws the metric after each epoch, of all trials and of the trainings after the search."""
    metric, ranked = history.run.metric, history.leaderboard()
    trials = ranked[:MOST_CURVES]
    others = [t for t in history.trials.values() if t.purpose != "search" and t.epochs]
    # The best are on top, and many lines are fainter than a few.
    drawn = [*reversed(trials), *others]
    opacity = max(0.25, min(0.75, 30 / max(1, len(trials))))
    # All curves of a kind share an entry of the legend, that of the first.
    first = {_kind(trial): trial for trial in reversed(drawn)}
    figure = go.Figure(
        [_curve(t, metric, opacity=opacity, in_legend=first[_kind(t)] is t) for t in drawn]
    )
    longest = max((len(trial.epochs) for trial in drawn), default=0)
    whole = {"dtick": 1} if longest <= EACH_EPOCH_NAMED else {}
    figure.update_xaxes(title="epoch", rangemode="tozero", **whole)
    caption = "Each line is a trial; its last point shows how it ended."
    if len(trials) < len(ranked):
        caption += f" The best {MOST_CURVES} trials are drawn."
    label = f"Learning curves of {len(drawn)} trainings: {{}} by epoch"
    curves = metric_plot(figure, metric, label=label, caption=caption, height=480)
    return Section("Learning curves", CURVES, curves)


def _kind(trial: TrialHistory) -> str:
    """Returns how a trial of the search ended, or what another training was for."""
    others = {"confirm": "confirmation", "final": "winner's training"}
    return others.get(trial.purpose, trial.state)


def _curve(trial: TrialHistory, metric: str, *, opacity: float, in_legend: bool) -> go.Scatter:
    color, symbol = STATES[trial.state]
    searched = trial.purpose == "search"
    return go.Scatter(
        x=[record.epoch for record in trial.epochs],
        y=trial.values(metric),
        mode="lines+markers",
        name=_kind(trial),
        legendgroup=_kind(trial),
        showlegend=in_legend,
        meta=trial.trial_id,
        line={
            "color": color if searched else ORANGE,
            "width": 1.5 if searched else 2.5,
            "dash": "dot" if trial.purpose == "confirm" else "solid",
        },
        marker={"symbol": symbol, "size": [3] * (len(trial.epochs) - 1) + [9]},
        opacity=opacity if searched else 1.0,
        hovertemplate=f"{trial.trial_id}<br>epoch %{{x}}: %{{y:.4f}}<extra></extra>",
    )


Rungs = Mapping[int, Sequence[tuple[EpochEnded, bool]]]
"""Epoch -> the record of each trial that reached the rung, and whether it trained further."""


def rungs_section(history: History, settings: EarlyStopping) -> Section:
    """Shows which trials reached each rung of successive halving, and which of them went on."""
    last = max((len(trial.epochs) for trial in history.searched), default=0)
    rungs = {
        epoch: _at_rung(history, epoch) for epoch in range(1, last) if at_rung(settings, epoch)
    }
    text = (
        f"{settings.kind}: at each rung, the best 1/{settings.reduction_factor} of the trials that"
        " have reached it so far go on; the first to arrive have few to be compared with."
    )
    drawn = _rungs_plot(rungs, metric=history.run.metric)
    return Section("Early stopping", "rungs", paragraph(text), drawn, _rungs_table(history, rungs))


def _at_rung(history: History, epoch: int) -> list[tuple[EpochEnded, bool]]:
    return [
        (trial.epochs[epoch - 1], len(trial.epochs) > epoch)
        for trial in history.searched
        if epoch <= len(trial.epochs) and epoch < trial.planned_epochs
    ]


def _rungs_plot(rungs: Rungs, *, metric: str) -> Markup:
    figure = go.Figure()
    kinds = (("went on", "circle", "finished", True), ("ended there", "x", "stopped", False))
    for name, symbol, state, goes_on in kinds:
        points = [
            (e, record) for e, there in rungs.items() for record, on in there if on is goes_on
        ]
        figure.add_scatter(
            x=[f"epoch {epoch}" for epoch, _ in points],
            y=[getattr(record, metric) for _, record in points],
            text=[record.trial_id for _, record in points],
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": 9, "color": STATES[state][0]},
            hovertemplate="%{text}<br>%{y:.4f}",
        )
    figure.update_xaxes(title="rung", categoryarray=[f"epoch {e}" for e in rungs], type="category")
    return metric_plot(figure, metric, label="Trials at each rung, and which of them went on")


def _rungs_table(history: History, rungs: Rungs) -> Markup:
    rows: list[list[Cell]] = []
    for epoch, there in rungs.items():
        on = [record for record, goes_on in there if goes_on]
        worst = metric_cell(history.run.metric, min(on, key=history.score, default=None))
        rows.append([epoch, len(there), len(on), worst])
    columns = ["after epoch", "trials there", "went on", "worst that went on"]
    return table(columns, rows, caption="Rungs", sortable=False)
