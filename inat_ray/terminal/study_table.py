"""A search over seeds as a table: a row a configuration, with the spread of its seeds."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from inat_ray.config.space import SEED
from inat_ray.log.history import History
from inat_ray.log.records import Purpose
from inat_ray.search.study import Configuration, configurations, standard_error, told_apart
from inat_ray.terminal.leaderboard import LABELS, cells_text, fits, parameters_text, short_names

Trainable = Mapping[str, int]
"""Trial id -> parameters that it trains."""

TITLES: dict[Purpose, str] = {
    "search": "configurations over seeds",
    "confirm": "the best, trained again with other seeds",
}


def study_table(
    history: History,
    *,
    purpose: Purpose = "search",
    width: int = 80,
    trainable: Trainable | None = None,
) -> Table:
    """Configurations over seeds, best first, and whether the best two differ.

    `purpose`: those of a search over seeds, or those that were confirmed.

    Each parameter has a column where all fit into `width` characters; else they share one.
    Rows without a rank have fewer trials than others, and do not compete. `trainable` adds a
    column: what a configuration's first trial trains.
    """
    apart = _study(history, purpose, trainable=trainable, apart=True)
    if fits(apart, width):
        return apart
    return _study(history, purpose, trainable=trainable, apart=False)


def doubt(ranking: Sequence[Configuration], *, metric: str) -> str | None:
    """A sentence where the best two of a ranking cannot be told apart, with the numbers."""
    if len(ranking) < 2 or told_apart(*ranking[:2]):
        return None
    first, second = ranking[:2]
    gap = _difference(abs(first.mean - second.mean), metric)
    error = standard_error(first, second)
    reason = (
        f"n = {first.n} and {second.n} is too few for a standard error"
        if error is None
        else f"2 standard errors of that are {_difference(2 * error, metric)}"
    )
    return f"The best two cannot be told apart: their means differ by {gap}, and {reason}."


def _study(
    history: History, purpose: Purpose, *, trainable: Trainable | None, apart: bool
) -> Table:
    """With a column a parameter (`apart`), or with one column for all, which folds."""
    metric, ranking = history.run.metric, configurations(history, purpose=purpose)
    names = short_names([name for name in history.run.parameters if name != SEED])
    trained = [] if trainable is None else ["trained"]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.title, table.title_justify = f"{history.run.name}: {TITLES[purpose]}", "left"
    table.caption, table.caption_justify = doubt(ranking, metric=metric), "left"
    for title in ("#", "n", f"{LABELS[metric]}, mean ± sd", *trained, "s/epoch"):
        table.add_column(title, no_wrap=True)
    for title in names.values() if apart else ["parameters"]:
        table.add_column(title, no_wrap=apart, style="dim")
    for place, configuration in enumerate(ranking, start=1):
        rank = str(place) if configuration.n == ranking[0].n else "-"
        values = cells_text(configuration.parameters, names)
        shown = values if apart else [parameters_text(configuration.parameters)]
        table.add_row(rank, *_numbers(configuration, metric=metric, trainable=trainable), *shown)
    return table


def _numbers(
    configuration: Configuration, *, metric: str, trainable: Trainable | None
) -> list[str]:
    """n, mean ± sd, the trained parameters where they are known, seconds an epoch."""
    first = configuration.trials[0].trial_id
    trained = [] if trainable is None else [f"{trainable[first]:,}"]
    seconds = f"{configuration.seconds_per_epoch:.2f}"
    return [str(configuration.n), spread_text(configuration, metric), *trained, seconds]


def spread_text(configuration: Configuration, metric: str) -> str:
    """'91.2 ± 0.4 %' of an accuracy, '0.312 ± 0.010' of a loss, the mean alone for one trial."""
    in_percent = metric.endswith("accuracy")
    numbers = [n for n in (configuration.mean, configuration.sd) if n is not None]
    if in_percent:
        return " ± ".join(f"{100 * n:.1f}" for n in numbers) + " %"
    return " ± ".join(f"{n:.3f}" for n in numbers)


def _difference(value: float, metric: str) -> str:
    return f"{100 * value:.1f} points" if metric.endswith("accuracy") else f"{value:.3f}"
