"""A search as tables: its leaderboard, its configurations over seeds, and its ablation."""

import math
from collections.abc import Collection, Mapping, Sequence

from rich.markup import escape
from rich.table import Column, Table

from inat_ray.config.metrics import METRICS
from inat_ray.config.space import SEED
from inat_ray.log.costs import Cost, telling_costs
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import Purpose
from inat_ray.search.front import Fronts
from inat_ray.search.study import (
    Configuration,
    changes,
    configurations,
    paired_difference,
    standard_error,
    told_apart,
    unchanged,
)
from inat_ray.terminal.run_texts import (
    score_meaning,
    score_value_text,
    share_text,
    states_text,
    steering_texts,
)
from inat_ray.terminal.tables import parameters_table, plain_table
from inat_ray.terminal.words import (
    cost_text,
    gap_text,
    metric_text,
    parameters_text,
    spread_text,
)

SHOWN_TRIALS = 10

MARK = "*"

Trainable = Mapping[str, int]
"""Trial id -> number of parameters that it trains."""

TITLES: dict[Purpose, str] = {
    "search": "configurations over seeds",
    "confirm": "the best, trained again with other seeds",
}


def shown_metrics(metric: str) -> list[str]:
    """Returns the run's metric and, if that is another one, the accuracy."""
    return list(dict.fromkeys((metric, "val_accuracy")))


def leaderboard_table(history: History, *, most: int = SHOWN_TRIALS, width: int = 80) -> Table:
    """Returns the best trials of a search by their scores, with the metrics at their best epochs.

    Costs in which they differ are columns too, where there is room for them. The caption tells how
    the search was steered.
    """
    shown = list(enumerate(history.leaderboard()[:most], start=1))
    title = f"{history.run.name}: {states_text(history)}"
    costs = telling_costs(trial for _, trial in shown)
    table = _trials_table(history, shown, costs=costs, width=width, title=title)
    more = len(history.searched) - len(shown)
    hidden = f"and {more} more in trials.parquet" if more else ""
    captions = [hidden, score_meaning(history), *map(escape, steering_texts(history.steering))]
    table.caption = "\n".join(filter(None, captions)) or None
    return table


def front_table(history: History, found: Fronts, *, width: int = 80) -> Table:
    """Returns the trials that are the best for what they cost, best first; see `search.front`.

    A star is at each cost on whose front a trial is.
    """
    marked = {(cost.name, trial.trial_id) for cost, trials in found for trial in trials}
    shown = {trial_id for _, trial_id in marked}
    ranked = enumerate(history.leaderboard(), start=1)
    table = _trials_table(
        history,
        [(rank, trial) for rank, trial in ranked if trial.trial_id in shown],
        costs=[cost for cost, _ in found],
        marked=marked,
        width=width,
        title=f"{history.run.name}: the best for what they cost",
    )
    meaning = f"{MARK}: no other trial costs as little and is as good"
    table.caption = "\n".join(filter(None, [meaning, score_meaning(history)]))
    return table


def _trials_table(
    history: History,
    ranked: Sequence[tuple[int, TrialHistory]],
    *,
    costs: Sequence[Cost],
    marked: Collection[tuple[str, str]] = (),
    width: int,
    title: str,
) -> Table:
    """Returns a row for each trial that has a result, with its rank, metrics and costs.

    `marked`: names of a cost and a trial whose cell has a mark; without marks, costs are left out
    where there is no room for them.
    """
    metrics, meaning, rows = shown_metrics(history.run.metric), score_meaning(history), []
    for rank, trial in ranked:
        best = trial.best(history.run.metric)
        values = [metric_text(metric, getattr(best, metric)) for metric in metrics]
        taken = [
            cost_text(cost, cost.of(trial)) + MARK * ((cost.name, trial.trial_id) in marked)
            for cost in costs
        ]
        if meaning:
            values = [score_value_text(history, trial) or "", *values]
        cells = [str(rank), trial.trial_id, *values, share_text(trial), trial.state, *taken]
        rows.append((cells, trial.parameters))
    return parameters_table(
        *("#", "trial", *(["score"] if meaning else [])),
        *(METRICS[metric].label for metric in metrics),
        *("epochs", "state"),
        *(cost.label for cost in costs),
        rows=rows,
        names=list(history.run.parameters),
        width=width,
        title=title,
        spare=0 if marked else len(costs),
    )


def study_table(
    history: History,
    *,
    purpose: Purpose = "search",
    width: int = 80,
    trainable: Trainable | None = None,
) -> Table:
    """Returns the configurations of a search over seeds or of its confirmation, best first.

    A configuration without a rank has fewer trials than others and does not compete. `trainable`
    adds a column: what a configuration's first trial trains. The caption says so if the best two
    cannot be told apart.
    """
    metric, ranking = history.run.metric, configurations(history, purpose=purpose)
    rows = []
    for place, found in enumerate(ranking, start=1):
        rank = str(place) if found.n == ranking[0].n else "-"
        trained = [f"{trainable[found.trials[0].trial_id]:,}"] if trainable is not None else []
        spread = spread_text(metric, found.mean, found.sd)
        cells = [rank, str(found.n), spread, *trained, f"{found.seconds_per_epoch:.2f}"]
        rows.append((cells, found.parameters))
    trained = [] if trainable is None else ["trained"]
    table = parameters_table(
        *("#", "n", f"{METRICS[metric].label}, mean ± sd", *trained, "s/epoch"),
        rows=rows,
        names=[name for name in history.run.parameters if name != SEED],
        width=width,
        title=f"{history.run.name}: {TITLES[purpose]}",
    )
    table.caption = doubt(ranking, metric=metric)
    return table


def ablation_table(history: History) -> Table:
    """Returns a row for each change, the best first, and one for the unchanged experiment.

    The difference is over the seeds that both have: the same seed brings the same initial
    weights, order, and crops wherever the change leaves them alone.
    """
    metric, ranking = history.run.metric, configurations(history)
    base = unchanged(ranking, history)
    table = plain_table(
        *("n", f"{METRICS[metric].label}, mean ± sd", "difference ± se", "s/epoch"),
        Column("what is changed"),
        title=f"{history.run.name}: one change at a time",
    )
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
    """Returns a sentence with the numbers if the best two of a ranking cannot be told apart."""
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
    """Returns how a configuration differs from the experiment: `schedule=cosine`."""
    return parameters_text(changes(configuration, base)) or "nothing"


def difference_text(
    configuration: Configuration, base: Configuration | None, *, metric: str
) -> str:
    """Returns '-1.3 ± 0.4', in points if the metric is a share; '' for the experiment itself."""
    found = None if base is None else paired_difference(configuration, base)
    if configuration is base or found is None:
        return ""
    mean, error = found
    scale, digits = (100, 1) if METRICS[metric].is_share else (1, 4)
    text = f"{scale * mean:+.{digits}f}"
    return text if math.isnan(error) else f"{text} ± {scale * error:.{digits}f}"
