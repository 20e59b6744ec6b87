"""The hyperparameters of a search: which mattered, and where the good values lie."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from inat_ray.config.distributions import Numeric, canonical
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
    joined,
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
    rank_correlation,
)
from inat_ray.page.metrics import metric_axis, percent_axis
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

    def given(self, name: str) -> list[tuple[int, JSON]]:
        """(place of the trial, value) of those that have the parameter."""
        return [(i, point[name]) for i, point in enumerate(self.points) if name in point]

    def is_number(self, name: str) -> bool:
        values = [value for _, value in self.given(name)]
        return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def scored_trials(history: History, experiment: Experiment | None) -> Scored:
    """The trials with a result; the seed is not a hyperparameter."""
    metric = history.run.metric
    results = [(t, best) for t in history.searched if (best := t.best(metric)) is not None]
    names = [name for name in history.run.parameters if name != SEED]
    return Scored(
        names=short_names(names),
        points=[{n: v for n, v in t.parameters.items() if n != SEED} for t, _ in results],
        scores=[getattr(best, metric) for _, best in results],
        trial_ids=[trial.trial_id for trial, _ in results],
        logarithmic=_logarithmic(experiment),
        metric=metric,
    )


def parameters_section(scored: Scored) -> Section:
    """Parallel coordinates, importance, correlation, and a slice for each hyperparameter."""
    parts = [
        _coordinates(scored),
        subheading("Which mattered"),
        _importance(scored),
        subheading("One by one"),
        _slices(scored),
    ]
    return Section("Hyperparameters", "hyperparameters", *parts)


def _logarithmic(experiment: Experiment | None) -> frozenset[str]:
    if experiment is None:
        return frozenset()
    try:
        parameters = search_space(experiment).parameters
    except UserError:  # the run's log says what was tried; only the scale is not known then
        return frozenset()
    return frozenset(
        name for name, p in parameters.items() if isinstance(p, Numeric) and p.scale == "log"
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
    widest = max(len(text) for text in dimensions[0].get("ticktext", ["      "]))
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
    """An axis with a scale of its own; trials without the parameter stand below its end."""
    given = dict(scored.given(name))
    everywhere = len(given) == len(scored.points)
    if scored.is_number(name) and len(set(given.values())) > FEW_VALUES:
        heights, ticks = _numeric_heights(given, logarithmic=name in scored.logarithmic)
    else:
        heights, ticks = _categorical_heights(given)
    low, high = min(ticks.values(), default=0.0), max(ticks.values(), default=1.0)
    span = (high - low) or 1.0
    if not everywhere:
        ticks[NOT_SET] = low - 0.15 * span
    values = [heights.get(i, low - 0.15 * span) for i in range(len(scored.points))]
    return {
        "label": scored.names[name],
        "values": values,
        "tickvals": list(ticks.values()),
        "ticktext": list(ticks),
        "range": [min(values + list(ticks.values())) - 0.05 * span, high + 0.05 * span],
    }


def _numeric_heights(
    given: Mapping[int, JSON], *, logarithmic: bool
) -> tuple[dict[int, float], dict[str, float]]:
    """Trial -> place on the axis, and the text of some places."""
    turn = math.log10 if logarithmic else float
    heights = {i: turn(value) for i, value in given.items()}
    low, high = min(heights.values()), max(heights.values())
    places = np.linspace(low, high, 5)
    texts = [value_text(float(10**place if logarithmic else place)) for place in places]
    return heights, dict(zip(texts, places.tolist(), strict=True))


def _categorical_heights(given: Mapping[int, JSON]) -> tuple[dict[int, float], dict[str, float]]:
    levels = _levels(list(given.values()))
    place = {canonical(level): float(i) for i, level in enumerate(levels)}
    heights = {i: place[canonical(value)] for i, value in given.items()}
    return heights, {value_text(level): place[canonical(level)] for level in levels}


def _levels(values: Sequence[JSON]) -> list[JSON]:
    """The different values in order: numbers by size, all else by its text."""
    different = {canonical(value): value for value in values}
    numbers = all(isinstance(value, int | float) for value in values)
    return sorted(different.values(), key=None if numbers else canonical)


def _importance(scored: Scored) -> Markup:
    scores = [METRICS[scored.metric].score(value) for value in scored.scores]
    found = importances(scored.points, scores)
    if found is None:
        few = len(scored.points) < LEAST_TRIALS
        reason = (
            f"{len(scored.points)} trials with a result are too few; {LEAST_TRIALS} are needed"
            if few
            else "the trials do not differ"
        )
        return missing(f"No importance is estimated: {reason}.")
    return joined(_importance_plot(scored, found), _importance_table(scored, found, scores))


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
        f"Permutation importance in a random forest over {found.trials} trials. {trust} A trial"
        " that was stopped counts with its best epoch, so a setting that learns slowly looks worse"
        " than it is."
    )
    label = "Importance: " + ", ".join(
        f"{scored.names[i.name]} {i.mean:.2f} plus or minus {i.sd:.2f}" for i in found.parameters
    )
    return plot(figure, label=label, caption=caption, height=90 + 32 * len(shown))


def _importance_table(scored: Scored, found: Importances, scores: Sequence[float]) -> Markup:
    rows = [
        [
            scored.names[i.name],
            Number(i.mean, f"{i.mean:.2f} ± {i.sd:.2f}"),
            *_correlation_cells(scored, scores, name=i.name),
            _best_value(scored, scores, name=i.name),
        ]
        for i in found.parameters
    ]
    columns = ["parameter", "importance ± sd", "rank correlation", "95 % interval", "best trial's"]
    caption = (
        "Correlation is Spearman's, positive where larger values gave better results; categories"
        " have none."
    )
    return table(columns, rows, caption=caption)


def _correlation_cells(scored: Scored, scores: Sequence[float], *, name: str) -> list[Cell]:
    found = rank_correlation(scored.points, scores, name=name)
    if found is None:
        return [None, None]
    correlation, trials = found
    interval = correlation_interval(correlation, trials)
    shown = None if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"
    return [Number(correlation, f"{correlation:.2f}"), shown]


def _best_value(scored: Scored, scores: Sequence[float], *, name: str) -> str:
    point = scored.points[int(np.argmax(scores))]
    return value_text(point[name]) if name in point else NOT_SET


def _slices(scored: Scored) -> Markup:
    plots = (_slice(scored, name) for name in scored.names)
    note = "The result against each hyperparameter; later trials are lighter."
    return joined(paragraph(note), beside(plots))


def _slice(scored: Scored, name: str) -> Markup:
    given = scored.given(name)
    numeric = scored.is_number(name)
    figure = go.Figure(
        go.Scatter(
            x=[value if numeric else value_text(value) for _, value in given],
            y=[scored.scores[i] for i, _ in given],
            text=[scored.trial_ids[i] for i, _ in given],
            mode="markers",
            marker={
                "color": [i for i, _ in given],
                "colorscale": SCALE,
                "size": 7,
                "opacity": 0.85,
            },
            hovertemplate="%{text}<br>%{x}: %{y:.4f}<extra></extra>",
        )
    )
    kind = "linear"
    if not numeric:
        kind = "category"
        figure.update_xaxes(categoryarray=[value_text(v) for v in _levels([v for _, v in given])])
    elif name in scored.logarithmic:
        kind = "log"
    figure.update_xaxes(title=scored.names[name], type=kind)
    metric_axis(figure, scored.metric)
    label = f"{METRICS[scored.metric].label} against {scored.names[name]}, {len(given)} trials"
    return plot(figure, label=label, height=280)
