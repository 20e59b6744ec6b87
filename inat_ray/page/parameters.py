"""The hyperparameters of a search: which mattered, and where the good values lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup
from numpy.typing import NDArray

from inat_ray.config.distributions import Numeric
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.metrics import METRICS
from inat_ray.config.space import SEED, search_space
from inat_ray.log.history import History
from inat_ray.log.records import JSON
from inat_ray.page.colors import BLUE, GRAY, SCALE
from inat_ray.page.html import (
    Cell,
    Number,
    Section,
    beside,
    missing,
    paragraph,
    plot,
    subheading,
    table,
)
from inat_ray.page.importance import (
    LEAST_TRIALS,
    Importances,
    correlation_interval,
    importances,
    ordered,
    rank_correlation,
)
from inat_ray.page.metrics import metric_plot, percent_axis, results
from inat_ray.terminal.words import short_names, value_text

NOT_SET = "not set"
"""Shown for a parameter whose condition a trial does not meet."""

FEW_VALUES = 6
"""Up to this many different numbers, the axis marks each of them."""


@dataclass(frozen=True)
class Scored:
    """The trials that have a result, with the values that the search varied."""

    names: dict[str, str]
    """Dotted name -> short name, in the order of the experiment."""
    points: list[Mapping[str, JSON]]
    scores: list[float]
    trial_ids: list[str]
    logarithmic: frozenset[str]
    """Names that are drawn on a log scale."""
    metric: str
    best: Mapping[str, JSON]
    """The best trial's point."""

    @property
    def turned(self) -> list[float]:
        """The scores, turned so that higher is better."""
        return [METRICS[self.metric].score(value) for value in self.scores]

    def given(self, name: str) -> tuple[list[int], list[Any]]:
        """Returns the places of the trials that have the parameter, and their values of it."""
        places = [i for i, point in enumerate(self.points) if name in point]
        return places, [self.points[i][name] for i in places]


def scored_trials(history: History, experiment: Experiment | None) -> Scored:
    """Returns the trials with a result; the seed is not a hyperparameter."""
    metric, found, best = history.run.metric, results(history), history.leader
    return Scored(
        names=short_names([name for name in history.run.parameters if name != SEED]),
        points=[{n: v for n, v in t.parameters.items() if n != SEED} for t, _ in found],
        best=best.parameters if best else {},
        scores=[value for _, value in found],
        trial_ids=[trial.trial_id for trial, _ in found],
        logarithmic=_logarithmic(experiment),
        metric=metric,
    )


def _logarithmic(experiment: Experiment | None) -> frozenset[str]:
    try:
        parameters = search_space(experiment).parameters if experiment else {}
    except UserError:  # the run's log says what was tried; only the scale is not known then
        parameters = {}
    return frozenset(
        name for name, p in parameters.items() if isinstance(p, Numeric) and "log" in p.scale
    )


def parameters_section(scored: Scored) -> Section:
    """Shows parallel coordinates, importance, correlation, and a slice a hyperparameter."""
    return Section(
        "Hyperparameters",
        "hyperparameters",
        _coordinates(scored),
        subheading("Which mattered"),
        *_importance(scored),
        subheading("One by one"),
        paragraph("The result against each hyperparameter; later trials are lighter."),
        beside(_slice(scored, name) for name in scored.names),
    )


def _coordinates(scored: Scored) -> Markup:
    dimensions = [_dimension(scored, name) for name in scored.names]
    dimensions.append(_metric_dimension(scored))
    figure = go.Figure(
        go.Parcoords(
            dimensions=dimensions,
            line={
                "color": scored.scores,
                "colorscale": SCALE,
                "reversescale": METRICS[scored.metric].goal == "minimize",
            },
        )
    )
    # The first axis has its texts at its left, where plotly leaves them no room.
    widest = max(map(len, dimensions[0]["ticktext"]))
    figure.update_layout(margin={"l": 20 + 6 * widest, "r": 50, "t": 60, "b": 30})
    caption = (
        "Each line is a trial, colored by its result. Drag along an axis to keep the trials in"
        " that range, drag an axis's name to move it; the leaderboard holds the same numbers."
    )
    label = f"Parallel coordinates of {len(scored.points)} trials over {len(dimensions)} axes"
    width = 90 * len(dimensions) + 60
    return plot(figure, label=label, caption=caption, height=440, least_width=width)


def _metric_dimension(scored: Scored) -> dict[str, Any]:
    low, high = min(scored.scores), max(scored.scores)
    pad = (high - low) * 0.02 or 0.01
    return {
        "label": METRICS[scored.metric].label,
        "values": scored.scores,
        "range": [low - pad, high + pad],
        "tickformat": percent_axis(scored.metric).get("tickformat", ".3g"),
    }


def _dimension(scored: Scored, name: str) -> dict[str, Any]:
    """Returns an axis with its own scale; trials without the parameter stand below its end."""
    places, given = scored.given(name)
    heights, ticks = _heights(given, logarithmic=name in scored.logarithmic)
    low, high = min(ticks.values(), default=0.0), max(ticks.values(), default=1.0)
    span = (high - low) or 1.0
    absent = low - 0.15 * span
    values = np.full(len(scored.points), absent)
    values[places] = heights
    if len(places) < len(values):
        ticks[NOT_SET] = absent
    return {
        "label": scored.names[name],
        "values": values.tolist(),
        "tickvals": list(ticks.values()),
        "ticktext": list(ticks),
        "range": [min(ticks.values()) - 0.05 * span, high + 0.05 * span],
    }


def _heights(values: Sequence[JSON], *, logarithmic: bool) -> tuple[NDArray[Any], dict[str, float]]:
    """Returns the places of values on an axis, and the text of some places."""
    if _are_numbers(values) and len(set(values)) > FEW_VALUES:
        heights = np.log10(values) if logarithmic else np.array(values, dtype=np.float64)
        marked = np.linspace(heights.min(), heights.max(), 5).tolist()
        texts = [value_text(float(10**place if logarithmic else place)) for place in marked]
        return heights, dict(zip(texts, marked, strict=True))
    levels, places = ordered(values)
    return places, {value_text(level): float(place) for place, level in enumerate(levels)}


def _are_numbers(values: Sequence[JSON]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _importance(scored: Scored) -> list[Markup]:
    found = importances(scored.points, scored.turned)
    if found is not None:
        return [_importance_plot(scored, found), _importance_table(scored, found)]
    trials = len(scored.points)
    reason = (
        f"{trials} trials with a result are too few; {LEAST_TRIALS} are needed"
        if trials < LEAST_TRIALS
        else "the trials do not differ"
    )
    return [missing(f"No importance is estimated: {reason}.")]


def _importance_plot(scored: Scored, found: Importances) -> Markup:
    shown = list(reversed(found.parameters))
    figure = go.Figure(
        go.Bar(
            x=[importance.mean for importance in shown],
            y=[scored.names[importance.name] for importance in shown],
            error_x={"array": [importance.sd for importance in shown], "color": GRAY},
            orientation="h",
            marker={"color": BLUE},
            hovertemplate="%{y}: %{x:.2f}<extra></extra>",
        )
    )
    figure.update_xaxes(title="explained variance lost (± sd)")
    trust = (
        f"The forest explains {100 * found.explained:.0f} % of the variance of unseen trials."
        if found.explained > 0
        else "The forest predicts unseen trials no better than their mean does: these bars mean"
        " nothing."
    )
    caption = (
        f"Permutation importance in a random forest over {len(scored.points)} trials. {trust}"
        " A trial that was stopped counts with what it had, so a setting that learns slowly"
        " looks worse than it is."
    )
    label = "Importance: " + ", ".join(
        f"{scored.names[i.name]} {i.mean:.2f} plus or minus {i.sd:.2f}" for i in found.parameters
    )
    return plot(figure, label=label, caption=caption, height=90 + 32 * len(shown))


def _importance_table(scored: Scored, found: Importances) -> Markup:
    best = scored.best
    rows: list[list[Cell]] = [
        [
            scored.names[i.name],
            Number(i.mean, f"{i.mean:.2f} ± {i.sd:.2f}"),
            *_correlation_cells(scored, i.name),
            value_text(best[i.name]) if i.name in best else NOT_SET,
        ]
        for i in found.parameters
    ]
    columns = ["parameter", "importance ± sd", "rank correlation", "95 % interval", "best trial's"]
    caption = (
        "Correlation is Spearman's, positive where larger values gave better results; categories"
        " have none."
    )
    return table(columns, rows, caption=caption)


def _correlation_cells(scored: Scored, name: str) -> list[Cell]:
    found = rank_correlation(scored.points, scored.turned, name=name)
    if found is None:
        return [None, None]
    correlation, trials = found
    interval = correlation_interval(correlation, trials)
    shown = None if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"
    return [Number(correlation, f"{correlation:.2f}"), shown]


def _slice(scored: Scored, name: str) -> Markup:
    places, given = scored.given(name)
    numeric = _are_numbers(given)
    figure = go.Figure(
        go.Scatter(
            x=given if numeric else [value_text(value) for value in given],
            y=[scored.scores[i] for i in places],
            text=[scored.trial_ids[i] for i in places],
            mode="markers",
            marker={"color": places, "colorscale": SCALE, "size": 7, "opacity": 0.85},
            hovertemplate="%{text}<br>%{x}: %{y:.4f}<extra></extra>",
        )
    )
    figure.update_xaxes(title=scored.names[name])
    if numeric:
        figure.update_xaxes(type="log" if name in scored.logarithmic else "linear")
    else:
        levels, _ = ordered(given)
        figure.update_xaxes(type="category", categoryarray=[value_text(level) for level in levels])
    label = f"{{}} against {scored.names[name]}, {len(given)} trials"
    return metric_plot(figure, scored.metric, label=label, height=280)
