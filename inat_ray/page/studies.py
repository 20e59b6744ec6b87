"""Configurations over several seeds: the confirmation, a search over seeds, a study of freezing."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from inat_ray.config.experiment import Experiment
from inat_ray.config.metrics import METRICS
from inat_ray.config.trial import trial_experiment
from inat_ray.log.history import History
from inat_ray.log.records import Purpose
from inat_ray.models.complexity import Complexity, complexity
from inat_ray.page.axes import Axis, categories, linear, of_metric
from inat_ray.page.colors import BLUE, ORANGE
from inat_ray.page.figure import Figure, Key, Plot
from inat_ray.page.html import Cell, Number, Section, paragraph, table
from inat_ray.page.marks import Dot, Mark, Whisker, Words
from inat_ray.page.metrics import share_cell
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
        _spread(ranking, metric, name=f"{purpose}-study"),
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


def _spread(ranking: Sequence[Configuration], metric: str, *, name: str) -> Figure:
    """Draws each seed's result, and the mean with its standard deviation."""
    ends = [m + s for c in ranking for m in [c.mean] for s in (c.sd or 0.0, -(c.sd or 0.0))]
    plot = Plot(
        categories("configuration, by rank", [f"#{place}" for place in range(1, len(ranking) + 1)]),
        of_metric(metric, [*(score for c in ranking for score in c.scores), *ends]),
        height=320,
    )
    for place, found in enumerate(ranking):
        tip = parameters_text(found.parameters)
        for trial, score in zip(found.trials, found.scores, strict=True):
            plot.add(
                Dot(
                    place,
                    score,
                    BLUE,
                    "circle-open",
                    trial=trial.trial_id,
                    shift=-9.0,
                    series=f"seed {trial.seed}",
                    tip=tip,
                )
            )
        plot.add(*_mean(place, found, shift=9.0))
    plot.legend = [Key("a seed", "circle-open", BLUE), Key("mean ± sd", "diamond", ORANGE)]
    seeds = sorted({found.n for found in ranking})
    caption = (
        f"n = {seeds[0]}{f' to {seeds[-1]}' if len(seeds) > 1 else ''} seeds of each configuration;"
        " bars: ± one standard deviation between them."
    )
    label = f"{METRICS[metric].label} of {len(ranking)} configurations over their seeds"
    return Figure.of(name, plot, label=label, caption=caption)


def _mean(x: float, found: Configuration, *, shift: float = 0.0, tip: str = "") -> list[Mark]:
    """Returns the marks of a configuration's mean, with its deviation where it has one."""
    low, high = found.mean - (found.sd or 0.0), found.mean + (found.sd or 0.0)
    whiskers = [Whisker(((x, low), (x, high)), series="± sd", shift=shift)] if found.sd else []
    return [
        *whiskers,
        Dot(x, found.mean, ORANGE, "diamond", 5, series="mean", shift=shift, tip=tip),
    ]


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
    figure, rows = _freeze_figure(found, metric), _freeze_table(found, metric)
    return Section("What to freeze", "freeze", figure, rows)


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


def _freeze_figure(found: Sequence[_Frozen], metric: str) -> Figure:
    """Draws accuracy, time, and memory where the run recorded it, by the share that is frozen."""
    times = [item.configuration.seconds_per_epoch for item in found]
    plots = [
        _means_by_share(found, metric),
        _costs_by_share(found, times, title="seconds an epoch"),
    ]
    memory = [item.memory for item in found if item.memory is not None]
    if len(memory) == len(found):
        plots.append(_costs_by_share(found, memory, title="memory, GiB"))
    seeds = max(item.configuration.n for item in found)
    caption = (
        f"{len(found)} configurations, each the mean of n = {seeds} seeds; bars: ± one standard"
        " deviation between them."
    )
    label = f"{METRICS[metric].label} and costs against the share of layers that is frozen"
    return Figure("freeze", label, {"": plots}, caption, least=290)


def _means_by_share(found: Sequence[_Frozen], metric: str) -> Plot:
    ends = [i.configuration.mean + k * (i.configuration.sd or 0.0) for i in found for k in (-1, 1)]
    plot = Plot(_share_axis(), of_metric(metric, ends, "{}, mean ± sd"), height=320)
    named: set[str] = set()
    for place, item in enumerate(sorted(found, key=lambda item: -item.configuration.mean)):
        # Those that freeze the same stand side by side; the best of them has its name.
        shift = 8.0 * (place % 3 - 1)
        plot.add(*_mean(item.share, item.configuration, tip=item.name, shift=shift))
        if item.name not in named:
            low = len(named) % 2
            named.add(item.name)
            at = item.configuration.mean + (-1 if low else 1) * (item.configuration.sd or 0.0)
            plot.add(
                Words(item.share, at, item.name, anchor="middle", shift=(shift, 16 if low else -7))
            )
    return plot


def _costs_by_share(found: Sequence[_Frozen], costs: Sequence[float], *, title: str) -> Plot:
    plot = Plot(_share_axis(), linear(title, costs, zero=True), height=320)
    for item, cost in zip(found, costs, strict=True):
        plot.add(Dot(item.share, cost, BLUE, "circle", 5, series=item.name, tip=item.name))
    return plot


def _share_axis() -> Axis:
    return linear("layers that are frozen", [0, 1], share=True, pad=0.08)
