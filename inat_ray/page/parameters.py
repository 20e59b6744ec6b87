"""The hyperparameters of a search: which mattered, and where the good values lie."""

from dataclasses import replace

from markupsafe import Markup

from inat_ray.page.axes import downwards, linear, of_metric
from inat_ray.page.colors import BLUE, GRAY, SCALE
from inat_ray.page.coordinates import NOT_SET, coordinates_figure
from inat_ray.page.figure import Figure, Key, Plot
from inat_ray.page.html import Cell, Number, Section, missing, subheading, table
from inat_ray.page.importance import (
    BOOTSTRAPS,
    LEAST_TRIALS,
    Importance,
    Importances,
    correlation_interval,
    different,
    rank_correlation,
    telling_trials,
)
from inat_ray.page.maps import maps_figure
from inat_ray.page.marks import Dot, Line, Whisker
from inat_ray.page.scored import Scored, jitter
from inat_ray.terminal.words import counted, value_text

SLICE_LEAST = 150
"""The least width of a slice, in pixels."""

SPREAD = 0.5
"""Share of a category's room over which a slice spreads its trials."""


def parameters_section(scored: Scored) -> Section:
    """Shows parallel coordinates, importance, correlation, and a slice a hyperparameter."""
    return Section(
        "Hyperparameters",
        "hyperparameters",
        coordinates_figure(scored),
        subheading("Which mattered"),
        *_importance(scored),
        *_maps(scored),
        subheading("One by one"),
        _slices(scored),
    )


def _maps(scored: Scored) -> list[Markup | Figure]:
    maps = maps_figure(scored)
    return [subheading("Two at a time"), maps] if maps else []


def _importance(scored: Scored) -> list[Markup | Figure]:
    """Returns bars and a table, or, where the forest predicts nothing, the table and why."""
    found, trials = scored.importances, len(scored.points)
    if found is None:
        count = different(scored.points)
        few = f"{counted(count, 'configuration')} with a result, and {LEAST_TRIALS} are needed"
        reason = few if count < LEAST_TRIALS else "the results do not differ"
        return [missing(f"No importance is estimated: {reason}.")]
    if found.explained > 0:
        return [_importance_figure(scored, found), _table(scored, found)]
    need = telling_trials(scored.points, scored.ranks)
    text = (
        f"No importance is shown: from these {trials} trials a random forest predicts others no"
        f" better than their mean does. About {need} trials would do, if the clearest correlation"
        " in the table is as strong as it looks."
    )
    return [_table(scored, None), missing(text)]


def _importance_figure(scored: Scored, found: Importances) -> Figure:
    shown = found.parameters
    names = [scored.names[item.name] for item in shown]
    ends = [0.0, *(end for item in shown for end in item.interval)]
    plot = Plot(linear("explained variance lost without it", ends), downwards("", names))
    plot.add(Line([(0, -0.5), (0, len(names) - 0.5)], "var(--faint)", 1, data=False))
    for place, item in enumerate(shown):
        low, high = item.interval
        color = BLUE if low > 0 else GRAY
        tip = f"{names[place]}: {_importance_text(item)}"
        plot.add(
            Whisker(((low, place), (high, place)), color, series="95 % interval"),
            Dot(item.mean, place, color, size=5, series="mean", tip=tip),
        )
    plot.height = 56 + 24 * len(shown)
    caption = (
        f"n = {len(scored.points)} trials. A random forest learns their ranks, stopped ones below"
        f" the others, and explains {100 * found.explained:.0f} % of the variance of those that it"
        " has not seen. Dots: how much less without the parameter (permutation importance); bars:"
        f" 95 % intervals, from {BOOTSTRAPS} bootstrap samples, gray where they reach 0."
    )
    label = "Importance: " + ", ".join(
        f"{scored.names[item.name]} {_importance_text(item)}" for item in found.parameters
    )
    return Figure("importance", label, {"": [plot]}, caption)


def _importance_text(item: Importance) -> str:
    low, high = item.interval
    return f"{item.mean:z.2f} ({low:z.2f} to {high:z.2f})"


def _table(scored: Scored, found: Importances | None) -> Markup:
    """Returns the table of importance, where it is known, and of rank correlation."""
    worth = {item.name: item for item in found.parameters} if found else {}
    best = scored.points[scored.trial_ids.index(scored.winner)] if scored.winner else None
    rows: list[list[Cell]] = []
    for name in scored.telling:
        item = worth.get(name)
        told: list[Cell] = [Number(item.mean, _importance_text(item)) if item else None]
        value = None
        if best is not None:
            value = value_text(best[name]) if name in best else NOT_SET
        rows.append(
            [scored.names[name], *(told if found else []), *_correlation_cells(scored, name), value]
        )
    columns = [
        "parameter",
        *(["importance (95 % interval)"] if found else []),
        *("rank correlation", "95 % interval", "n", "winner's"),
    ]
    caption = (
        "Correlation is Spearman's, positive where larger values gave better results; categories"
        " have none."
    )
    return table(columns, rows, caption=caption)


def _correlation_cells(scored: Scored, name: str) -> list[Cell]:
    """Returns the correlation, its interval, and the number of trials."""
    found = rank_correlation(scored.points, scored.ranks, name=name)
    if found is None:
        return [None, None, len(scored.given(name)[0])]
    correlation, trials = found
    interval = correlation_interval(correlation, trials)
    shown = None if interval is None else f"{interval[0]:z.2f} to {interval[1]:z.2f}"
    return [Number(correlation, f"{correlation:z.2f}"), shown, trials]


def _slices(scored: Scored) -> Figure:
    """Draws the result against each hyperparameter, on one axis of results."""
    plots = [_slice(scored, name) for name in scored.telling]
    caption = (
        f"{len(scored.points)} trials with a result, at their values of each hyperparameter, the"
        " most telling first; later trials are warmer. Hollow: ended early; ringed: the winner."
        " Values of a category are spread a little."
    )
    label = f"Result of {len(scored.points)} trials against each of {len(plots)} hyperparameters"
    ends = [Key("ended early", "circle-open"), Key("finished", "circle")]
    keys = [Key("first", "scale", other="last trial"), *ends]
    return Figure("slices", label, {"": plots}, caption, SLICE_LEAST, shared=True, keys=keys)


def _slice(scored: Scored, name: str) -> Plot:
    axis, values = scored.axis(name)
    plot = Plot(axis, of_metric(scored.metric, scored.scores, scored.title), height=210)
    last = max(1, len(scored.points) - 1)
    for place, value in zip(scored.given(name)[0], values, strict=True):
        at = value + SPREAD * jitter(place) if axis.names else value
        color = SCALE[round(place / last * (len(SCALE) - 1))]
        shape = "circle-open" if scored.hollow(place) else "circle"
        trial = scored.trial_ids[place]
        dot = Dot(at, scored.scores[place], color, shape, 3.4, trial)
        plot.add(replace(dot, ringed=trial == scored.winner))
    return plot
