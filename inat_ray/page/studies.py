"""Configurations over several seeds: the confirmation, a search over seeds, a study of freezing."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

from inat_ray.config.experiment import Experiment
from inat_ray.config.metrics import METRICS
from inat_ray.config.trial import trial_experiment
from inat_ray.log.history import History
from inat_ray.log.records import Purpose
from inat_ray.models.complexity import Complexity, complexity
from inat_ray.page.colors import BLUE, ORANGE
from inat_ray.page.html import Cell, Number, Section, beside, paragraph, plot, table
from inat_ray.page.metrics import metric_plot, share_cell
from inat_ray.search.study import Configuration, configurations, unchanged
from inat_ray.terminal.search_tables import change_text, difference_text, doubt
from inat_ray.terminal.words import gap_text, metric_text, parameters_text, value_text

FREEZE = "model.freeze"


def study_section(history: History, *, purpose: Purpose, title: str) -> Section:
    """Shows mean, standard deviation, and n of each configuration, and if the best two differ.

    An ablation also has the difference that each change makes to the experiment.
    """
    metric, ranking = history.run.metric, configurations(history, purpose=purpose)
    base = unchanged(ranking, history)
    changed = ["parameters"] if base is None else ["difference ± se", "what is changed"]
    columns = ["#", *_measured_columns(metric), *changed]
    rows = [
        [place, *_measured(c, metric), *_changed(c, base, metric)]
        for place, c in enumerate(ranking, start=1)
    ]
    said = doubt(ranking, metric=metric) or (
        "The best two differ by more than 2 standard errors of their difference."
        if len(ranking) > 1
        else "There is one configuration, so there is nothing to compare it with."
    )
    return Section(
        title,
        f"{purpose}-study",
        paragraph(said),
        _spread_plot(ranking, metric),
        table(columns, rows, caption="Configurations, the best first"),
    )


def _measured_columns(metric: str) -> list[str]:
    return ["n", f"{METRICS[metric].label}, mean", "sd", "s/epoch"]


def _measured(found: Configuration, metric: str) -> list[Cell]:
    return [
        found.n,
        Number(found.mean, metric_text(metric, found.mean)),
        None if found.sd is None else Number(found.sd, gap_text(metric, found.sd)),
        Number(found.seconds_per_epoch, f"{found.seconds_per_epoch:.2f}"),
    ]


def _changed(found: Configuration, base: Configuration | None, metric: str) -> list[str]:
    if base is None:
        return [parameters_text(found.parameters)]
    return [difference_text(found, base, metric=metric), change_text(found, base)]


def _spread_plot(ranking: Sequence[Configuration], metric: str) -> Markup:
    """Draws each seed's result, and the mean with its standard deviation."""
    seeds = [(f"#{place}", score) for place, c in enumerate(ranking, 1) for score in c.scores]
    figure = go.Figure()
    figure.add_scatter(
        x=[name for name, _ in seeds],
        y=[score for _, score in seeds],
        mode="markers",
        name="a seed",
        marker={"color": BLUE, "symbol": "circle-open", "size": 8},
    )
    figure.add_scatter(
        x=[f"#{place}" for place in range(1, len(ranking) + 1)],
        y=[found.mean for found in ranking],
        error_y={"array": [found.sd or 0.0 for found in ranking]},
        mode="markers",
        name="mean ± sd",
        marker={"color": ORANGE, "symbol": "diamond", "size": 10},
    )
    figure.update_xaxes(title="configuration, by rank", type="category")
    label = f"{{}} of {len(ranking)} configurations over their seeds"
    return metric_plot(figure, metric, label=label, height=320)


@dataclass(frozen=True)
class _Frozen:
    """A configuration of a freeze study, and how much of its model trains."""

    configuration: Configuration
    size: Complexity

    @property
    def name(self) -> str:
        return value_text(self.configuration.parameters.get(FREEZE))

    @property
    def share(self) -> float:
        """The share of the layers that is frozen."""
        return 1 - self.size.trained_layers / self.size.layers

    @property
    def memory(self) -> float | None:
        """The median of the epochs' peak memory, in GiB, where the run recorded it."""
        epochs = (epoch for trial in self.configuration.trials for epoch in trial.epochs)
        peaks = [epoch.peak_memory for epoch in epochs if epoch.peak_memory is not None]
        return statistics.median(peaks) / 2**30 if peaks else None


def is_freeze_study(history: History) -> bool:
    return history.started is not None and FREEZE in history.run.parameters


def freeze_section(history: History, experiment: Experiment, *, classes: int) -> Section:
    """Shows what freezing costs and saves: accuracy, time, and memory against the frozen share."""
    metric, found = history.run.metric, []
    for configuration in configurations(history):
        first = configuration.trials[0]
        tried = trial_experiment(experiment, parameters=first.parameters, seed=first.seed)
        found.append(_Frozen(configuration, size=complexity(tried, classes=classes)))
    parts = [_accuracy_plot(found, metric), _cost_plots(found), _freeze_table(found, metric)]
    return Section("What to freeze", "freeze", *parts)


def _freeze_table(found: Sequence[_Frozen], metric: str) -> Markup:
    rows: list[list[Cell]] = [
        [
            item.name,
            share_cell(item.share),
            Number(trained := item.size.trainable_parameters, f"{trained:,}"),
            *_measured(item.configuration, metric),
            None if item.memory is None else Number(item.memory, f"{item.memory:.2f} GiB"),
        ]
        for item in found
    ]
    measured = _measured_columns(metric)
    columns = ["frozen", "layers frozen", "parameters trained", *measured, "memory"]
    caption = (
        "Configurations, the best first. Memory is the peak of an epoch, as a median over the"
        " epochs; it is recorded on GPUs only."
    )
    return table(columns, rows, caption=caption)


def _accuracy_plot(found: Sequence[_Frozen], metric: str) -> Markup:
    found = sorted(found, key=lambda item: item.share)
    figure = _against_frozen_share(
        found,
        [item.configuration.mean for item in found],
        error_y={"array": [item.configuration.sd or 0.0 for item in found]},
        textposition=[_label_position(place, item) for place, item in enumerate(found)],
        mode="markers+text",
        marker={"color": BLUE, "size": 10},
        hovertemplate="%{text}<br>%{x:.0%} frozen: %{y:.4f}<extra></extra>",
    )
    return metric_plot(
        figure,
        metric,
        title="{}, mean ± sd",
        label="{} against the share of layers that is frozen",
        caption="The mean over the seeds of each configuration, with its standard deviation.",
        height=380,
    )


def _label_position(place: int, item: _Frozen) -> str:
    """Returns a place beside the error bar, within the plot, and clear of a neighbor's label."""
    return f"{('top', 'bottom')[place % 2]} {'left' if item.share > 0.5 else 'right'}"


def _cost_plots(found: Sequence[_Frozen]) -> Markup:
    """Draws time, and memory where the run recorded it."""
    times = [item.configuration.seconds_per_epoch for item in found]
    plots = [_cost_plot(found, times, title="seconds an epoch")]
    memory = [item.memory for item in found if item.memory is not None]
    if len(memory) == len(found):
        plots.append(_cost_plot(found, memory, title="memory, GiB"))
    return beside(plots)


def _cost_plot(found: Sequence[_Frozen], costs: Sequence[float], *, title: str) -> Markup:
    figure = _against_frozen_share(
        found,
        costs,
        mode="markers",
        cliponaxis=False,
        marker={"color": ORANGE, "size": 10},
        hovertemplate="%{text}<br>%{x:.0%} frozen: %{y:.2f}<extra></extra>",
    )
    figure.update_yaxes(title=title, rangemode="tozero")
    return plot(figure, label=f"{title} against the share of frozen layers", height=280)


def _against_frozen_share(
    found: Sequence[_Frozen], heights: Sequence[float], **looks: Any
) -> go.Figure:
    """Returns a point for each configuration, at the share of layers that it freezes."""
    shares, names = [item.share for item in found], [item.name for item in found]
    figure = go.Figure(go.Scatter(x=shares, y=heights, text=names, **looks))
    figure.update_xaxes(title="layers that are frozen", tickformat=".0%", range=[-0.08, 1.08])
    return figure
