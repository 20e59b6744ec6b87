"""Configurations over several seeds: the confirmation, a search over seeds, a study of freezing."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from inat_ray.config.experiment import Experiment
from inat_ray.config.metrics import METRICS
from inat_ray.config.trial import trial_experiment
from inat_ray.log.history import History
from inat_ray.log.records import Purpose
from inat_ray.models.complexity import Complexity, complexity
from inat_ray.page.axes import Axis, downwards, linear, of_metric
from inat_ray.page.colors import BLUE, ORANGE
from inat_ray.page.figure import Figure, Key, Plot
from inat_ray.page.html import Cell, Number, Section, paragraph, table
from inat_ray.page.marks import Dot
from inat_ray.page.metrics import share_cell
from inat_ray.search.study import Configuration, configurations, unchanged
from inat_ray.terminal.search_tables import change_text, difference_text, doubt
from inat_ray.terminal.words import gap_text, metric_text, parameters_text, span_text, value_text

FREEZE = "model.freeze"

BUNDLE = 0.7
"""Share of a row's height in which the configurations that freeze the same stand."""


def study_section(history: History, *, purpose: Purpose, title: str) -> Section:
    """Shows mean, standard deviation, and n of each configuration, and if the best two differ.

    An ablation also has the difference that each change makes to the experiment.
    """
    metric, ranking = history.run.metric, configurations(history, purpose=purpose)
    base = unchanged(ranking, history)
    changed = ["what differs"] if base is None else ["difference ± se", "what is changed"]
    columns = ["#", *_measured_columns(metric), *changed]
    rows = [
        [place, *_measured(c, metric), *(_changed(c, base, metric) if base else [text])]
        for place, (c, text) in enumerate(zip(ranking, _differing(ranking), strict=True), start=1)
    ]
    return Section(
        title,
        f"{purpose}-study",
        _verdict(ranking, metric),
        _spread(ranking, metric, name=f"{purpose}-study"),
        table(columns, rows, caption="Configurations, the best first"),
    )


def _verdict(ranking: Sequence[Configuration], metric: str) -> Markup:
    """Says whether the best two can be told apart."""
    if len(ranking) < 2:
        return paragraph("There is one configuration, so there is nothing to compare it with.")
    apart = "The best two differ by more than 2 standard errors of their difference."
    return paragraph(doubt(ranking, metric=metric) or apart)


def _measured_columns(metric: str) -> list[str]:
    return ["n", f"{METRICS[metric].label}, mean", "sd", "s/epoch"]


def _measured(found: Configuration, metric: str) -> list[Cell]:
    return [
        found.n,
        Number(found.mean, metric_text(metric, found.mean)),
        None if found.sd is None else Number(found.sd, gap_text(metric, found.sd)),
        Number(found.seconds_per_epoch, f"{found.seconds_per_epoch:.2f}"),
    ]


def _changed(found: Configuration, base: Configuration, metric: str) -> list[str]:
    return [difference_text(found, base, metric=metric), change_text(found, base)]


def _differing(ranking: Sequence[Configuration]) -> list[str]:
    """Returns each configuration's parameters, without those that are the same in all."""
    first = ranking[0].parameters
    same = {
        name
        for name, value in first.items()
        if all(name in c.parameters and c.parameters[name] == value for c in ranking)
    }
    kept = [{n: v for n, v in c.parameters.items() if n not in same} for c in ranking]
    return [parameters_text(k or c.parameters) for k, c in zip(kept, ranking, strict=True)]


def _spread(ranking: Sequence[Configuration], metric: str, *, name: str) -> Figure:
    """Draws each seed's result and the mean, a line a configuration, the best on top."""
    places = [f"#{place}" for place in range(1, len(ranking) + 1)]
    plot = _over_seeds(list(enumerate(ranking)), metric, downwards("", places))
    seeds = span_text(found.n for found in ranking)
    caption = f"{len(ranking)} configurations by rank, n = {seeds} seeds of each."
    label = f"{METRICS[metric].label} of {len(ranking)} configurations over their seeds"
    return Figure(name, label, {"": [plot]}, caption, keys=SEED_KEYS)


SEED_KEYS = [Key("a seed", "circle-open", BLUE), Key("their mean", "diamond", ORANGE)]


def _over_seeds(placed: Sequence[tuple[float, Configuration]], metric: str, rows: Axis) -> Plot:
    """Draws configurations at places of an axis of names: their seeds, and their means on them."""
    scores = [score for _, found in placed for score in found.scores]
    plot = Plot(of_metric(metric, scores), rows)
    for place, found in placed:
        tip = parameters_text(found.parameters)
        if found.n > 1:
            plot.add(Dot(found.mean, place, ORANGE, "diamond", 6.5, series="mean", tip=tip))
        for trial, score in zip(found.trials, found.scores, strict=True):
            name, series = trial.trial_id, f"seed {trial.seed}"
            plot.add(Dot(score, place, BLUE, "circle-open", 3, name, tip=tip, series=series))
    plot.height = 56 + 24 * len(placed)
    return plot


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
    def seconds(self) -> float:
        return self.configuration.seconds_per_epoch

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
    metric, ranking, found = history.run.metric, configurations(history), []
    for configuration in ranking:
        first = configuration.trials[0]
        tried = trial_experiment(experiment, parameters=first.parameters, seed=first.seed)
        found.append(_Frozen(configuration, size=complexity(tried, classes=classes)))
    said, figure = _verdict(ranking, metric), _freeze_figure(found, metric)
    return Section("What to freeze", "freeze", said, figure, _freeze_table(found, metric))


def _freeze_table(found: Sequence[_Frozen], metric: str) -> Markup:
    rows: list[list[Cell]] = [
        [
            parameters_text(item.configuration.parameters),
            share_cell(item.share),
            Number(trained := item.size.trainable_parameters, f"{trained:,}"),
            *_measured(item.configuration, metric),
            None if item.memory is None else Number(item.memory, f"{item.memory:.2f} GiB"),
        ]
        for item in found
    ]
    measured = _measured_columns(metric)
    columns = ["configuration", "layers frozen", "parameters trained", *measured, "memory"]
    caption = (
        "Configurations, the best first. Memory is the peak of an epoch, as a median over the"
        " epochs; it is recorded on GPUs only."
    )
    return table(columns, rows, caption=caption)


def _freeze_figure(found: Sequence[_Frozen], metric: str) -> Figure:
    """Draws accuracy, time, and memory where the run recorded it, by the share that is frozen."""
    groups: defaultdict[str, list[_Frozen]] = defaultdict(list)
    for item in sorted(found, key=lambda item: item.share):
        groups[f"{item.name}, {100 * item.share:.0f} %"].append(item)
    placed = [
        (row + BUNDLE * ((place + 0.5) / len(items) - 0.5), item)
        for row, items in enumerate(groups.values())
        for place, item in enumerate(items)
    ]
    rows = downwards("frozen, share of layers", list(groups))
    accuracy = _over_seeds([(place, item.configuration) for place, item in placed], metric, rows)
    plots = [accuracy, _costs(placed, rows, "seconds an epoch", lambda item: item.seconds)]
    if all(item.memory is not None for item in found):
        plots.append(_costs(placed, rows, "memory, GiB", lambda item: item.memory or 0.0))
    for plot in plots:
        plot.height = accuracy.height
    seeds = span_text(item.configuration.n for item in found)
    caption = (
        f"{len(found)} configurations, n = {seeds} seeds each; those that freeze the same are"
        " neighbors, the best first. Costs are medians over all epochs."
    )
    label = f"{METRICS[metric].label} and costs against the share of layers that is frozen"
    return Figure("freeze", label, {"": plots}, caption, least=250, shared=True, keys=SEED_KEYS)


def _costs(
    placed: Sequence[tuple[float, _Frozen]],
    rows: Axis,
    title: str,
    cost: Callable[[_Frozen], float],
) -> Plot:
    plot = Plot(linear(title, [cost(item) for _, item in placed], zero=True), rows)
    for place, item in placed:
        plot.add(Dot(cost(item), place, BLUE, "circle", series=item.name, tip=item.name))
    return plot
