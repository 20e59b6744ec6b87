"""A search as tables: its leaderboard, its configurations over seeds, and its ablation."""

import math
from collections.abc import Mapping, Sequence

from rich.table import Table

from inat_ray.config.metrics import METRICS
from inat_ray.config.space import SEED
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import Purpose
from inat_ray.search.study import (
    Configuration,
    changes,
    configurations,
    paired_difference,
    standard_error,
    told_apart,
    unchanged,
)
from inat_ray.terminal.standing import share_text, states_text
from inat_ray.terminal.tables import add_parameter_columns, plain_table, widest_that_fits
from inat_ray.terminal.words import (
    cells_text,
    gap_text,
    metric_text,
    parameters_text,
    short_names,
    spread_text,
)

SHOWN_TRIALS = 10

Trainable = Mapping[str, int]
"""Trial id -> number of parameters that it trains."""

TITLES: dict[Purpose, str] = {
    "search": "configurations over seeds",
    "confirm": "the best, trained again with other seeds",
}


def shown_metrics(metric: str) -> list[str]:
    """The run's metric, and beside it the accuracy."""
    return list(dict.fromkeys((metric, "val_accuracy")))


def leaderboard_table(history: History, *, most: int = SHOWN_TRIALS, width: int = 80) -> Table:
    """The best trials of a search, best first."""
    return widest_that_fits(lambda apart: _leaderboard(history, most=most, apart=apart), width)


def study_table(
    history: History,
    *,
    purpose: Purpose = "search",
    width: int = 80,
    trainable: Trainable | None = None,
) -> Table:
    """The configurations of a search over seeds or of its confirmation (`purpose`), best first.

    A configuration without a rank has fewer trials than others and does not compete. `trainable`
    adds a column: what a configuration's first trial trains. The caption says so if the best two
    cannot be told apart.
    """
    return widest_that_fits(
        lambda apart: _study(history, purpose, trainable=trainable, apart=apart), width
    )


def ablation_table(history: History) -> Table:
    """One row for each change, the best first, and one for the unchanged experiment.

    The difference is over the seeds that both have: the same seed brings the same initial
    weights, order, and crops wherever the change leaves them alone.
    """
    metric, ranking = history.run.metric, configurations(history)
    base = unchanged(ranking, history)
    table = plain_table(
        f"{history.run.name}: one change at a time",
        *("n", f"{METRICS[metric].label}, mean ± sd", "difference ± se", "s/epoch"),
    )
    table.add_column("what is changed")
    for found in ranking:
        table.add_row(
            str(found.n),
            spread_text(metric, found.mean, found.sd),
            difference_text(found, base, metric=metric),
            f"{found.seconds_per_epoch:.2f}",
            change_text(found, base),
            style="bold" if found is base else None,
        )
    return table


def doubt(ranking: Sequence[Configuration], *, metric: str) -> str | None:
    """A sentence with the numbers if the best two of a ranking cannot be told apart."""
    if len(ranking) < 2 or told_apart(*ranking[:2]):
        return None
    first, second = ranking[:2]
    error = standard_error(first, second)
    reason = (
        f"n = {first.n} and {second.n} is too few for a standard error"
        if error is None
        else f"2 standard errors of that are {gap_text(metric, 2 * error)}"
    )
    gap = gap_text(metric, abs(first.mean - second.mean))
    return f"The best two cannot be told apart: their means differ by {gap}, and {reason}."


def change_text(configuration: Configuration, base: Configuration | None) -> str:
    """How a configuration differs from the experiment: `schedule=cosine`."""
    return parameters_text(changes(configuration, base)) or "nothing"


def difference_text(
    configuration: Configuration, base: Configuration | None, *, metric: str
) -> str:
    """'-1.3 ± 0.4', in points if the metric is a share; empty for the experiment itself."""
    found = None if base is None else paired_difference(configuration, base)
    if configuration is base or found is None:
        return ""
    mean, error = found
    scale, digits = (100, 1) if METRICS[metric].is_share else (1, 4)
    text = f"{scale * mean:+.{digits}f}"
    return text if math.isnan(error) else f"{text} ± {scale * error:.{digits}f}"


def _leaderboard(history: History, *, most: int, apart: bool) -> Table:
    names = short_names(list(history.run.parameters))
    metrics = shown_metrics(history.run.metric)
    table = plain_table(
        f"{history.run.name}: {states_text(history)}",
        *("#", "trial", *(METRICS[metric].label for metric in metrics), "epochs", "state"),
    )
    add_parameter_columns(table, list(names.values()), apart=apart)
    ranking = history.leaderboard()[:most]
    for rank, trial in enumerate(ranking, start=1):
        values = cells_text(trial.parameters, names)
        shown = values if apart else [parameters_text(trial.parameters)]
        table.add_row(str(rank), *_scores(history, trial, metrics), *shown)
    if more := len(history.searched) - len(ranking):
        table.caption = f"and {more} more in trials.parquet"
    return table


def _scores(history: History, trial: TrialHistory, metrics: Sequence[str]) -> list[str]:
    """Trial, metrics at its best epoch, epochs, state."""
    best = trial.best(history.run.metric)
    assert best is not None
    values = [metric_text(metric, getattr(best, metric)) for metric in metrics]
    return [trial.trial_id, *values, share_text(trial), trial.state]


def _study(
    history: History, purpose: Purpose, *, trainable: Trainable | None, apart: bool
) -> Table:
    metric, ranking = history.run.metric, configurations(history, purpose=purpose)
    names = short_names([name for name in history.run.parameters if name != SEED])
    trained = [] if trainable is None else ["trained"]
    table = plain_table(
        f"{history.run.name}: {TITLES[purpose]}",
        *("#", "n", f"{METRICS[metric].label}, mean ± sd", *trained, "s/epoch"),
    )
    table.caption = doubt(ranking, metric=metric)
    add_parameter_columns(table, list(names.values()), apart=apart)
    for place, found in enumerate(ranking, start=1):
        values = cells_text(found.parameters, names)
        table.add_row(
            str(place) if found.n == ranking[0].n else "-",
            str(found.n),
            spread_text(metric, found.mean, found.sd),
            *([] if trainable is None else [f"{trainable[found.trials[0].trial_id]:,}"]),
            f"{found.seconds_per_epoch:.2f}",
            *(values if apart else [parameters_text(found.parameters)]),
        )
    return table
