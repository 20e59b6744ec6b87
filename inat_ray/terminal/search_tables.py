"""A search as tables: its leaderboard, its configurations over seeds, and its ablation."""

import math
from collections.abc import Collection, Mapping, Sequence

from rich.markup import escape
from rich.table import Column, Table
from rich.text import TextType

from inat_ray.config.metrics import METRICS
from inat_ray.config.space import SEED
from inat_ray.log.costs import Cost, telling_costs
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import Purpose, in_words
from inat_ray.search.front import Fronts
from inat_ray.search.study import (
    Configuration,
    changes,
    configurations,
    paired_difference,
    seed_is_searched,
    standard_error,
    told_apart,
    unchanged,
)
from inat_ray.search.telling import telling_parameters
from inat_ray.search.winner import origin_of
from inat_ray.terminal.run_texts import (
    score_label,
    score_meaning,
    score_value_text,
    share_text,
    states_text,
    steering_texts,
)
from inat_ray.terminal.tables import (
    NONE,
    Columns,
    parameter_columns,
    parameters_table,
    plain_table,
)
from inat_ray.terminal.words import (
    cost_text,
    gap_text,
    metric_text,
    parameters_text,
    spread_text,
)

SHOWN_TRIALS = 5
"""At the end of a search; the report has all."""

MARK = "*"

Ranked = Mapping[int, TrialHistory]
"""Rank -> trial, best first; all have a result."""

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
    """Returns the best trials of a search, with the parameters that tell most of their results.

    Costs in which they differ are columns too, where there is room for them. The caption says what
    is left out, and how the search was steered.
    """
    shown = dict(enumerate(history.leaderboard()[:most], start=1))
    table = _trials_table(
        history,
        shown,
        more=_cost_columns(shown, telling_costs(shown.values())),
        width=width,
        title=f"{history.run.name}: {states_text(history)}",
    )
    more = len(history.searched) - len(shown)
    hidden = f"and {more} more in the report and in trials.parquet" if more else None
    steered = map(escape, steering_texts(history.steering))
    table.caption = _lines(hidden, table.caption, *steered)
    return table


def front_table(history: History, found: Fronts, *, width: int = 80) -> Table:
    """Returns the trials that are the best for what they cost, best first; see `search.front`.

    A star is at each cost on whose front a trial is.
    """
    marked = {(cost.name, trial.trial_id) for cost, trials in found for trial in trials}
    ids = {trial_id for _, trial_id in marked}
    ranked = enumerate(history.leaderboard(), start=1)
    shown = {rank: trial for rank, trial in ranked if trial.trial_id in ids}
    table = _trials_table(
        history,
        shown,
        costs=_cost_columns(shown, [cost for cost, _ in found], marked=marked),
        width=width,
        title=f"{history.run.name}: the best for what they cost",
    )
    meaning = f"{MARK}: no other trial costs as little and is as good"
    table.caption = _lines(meaning, table.caption)
    return table


def _cost_columns(
    ranked: Ranked, costs: Sequence[Cost], *, marked: Collection[tuple[str, str]] = ()
) -> Columns:
    """Returns a column for each cost; `marked`: names of a cost and a trial that get a star."""
    return {
        cost.label: [
            cost_text(cost, cost.of(trial)) + MARK * ((cost.name, trial.trial_id) in marked)
            for trial in ranked.values()
        ]
        for cost in costs
    }


def _trials_table(
    history: History,
    ranked: Ranked,
    *,
    costs: Columns = NONE,
    more: Columns = NONE,
    width: int,
    title: str,
) -> Table:
    """Returns a row for each trial; `more`: columns that come last, where there is room."""
    trials, metric = list(ranked.values()), history.run.metric
    scores = [score_value_text(history, trial) or "" for trial in trials]
    columns = {"#": list(map(str, ranked)), "trial": [trial.trial_id for trial in trials]}
    columns[score_label(history)] = scores
    for other in shown_metrics(metric)[1:]:
        records = [trial.best(metric) for trial in trials]
        columns[METRICS[other].label] = [metric_text(other, getattr(r, other)) for r in records]
    columns["epochs"] = [share_text(trial) for trial in trials]
    if any(trial.state != "finished" for trial in trials):
        columns["state"] = [in_words(trial.state) for trial in trials]
    names = telling_parameters(history) + [SEED] * seed_is_searched(history)
    table = parameters_table(
        {**columns, **costs},
        parameters=parameter_columns([t.parameters for t in trials], names),
        more=more,
        width=width,
        title=title,
    )
    has_brackets = any(score.startswith("(") for score in scores)
    table.caption = _lines(table.caption, score_meaning(history, bracketed=has_brackets))
    return table


def _lines(*texts: TextType | None) -> str | None:
    return "\n".join(str(text) for text in texts if text) or None


def study_table(
    history: History,
    *,
    purpose: Purpose = "search",
    width: int = 80,
    trainable: Trainable | None = None,
) -> Table:
    """Returns the configurations of a search over seeds or of its confirmation, best first.

    A configuration without a rank has fewer trials than others and does not compete. `trainable`
    adds a column: what a configuration's first trial trains. A configuration that is confirmed has
    the name of the search's trial. The caption says so if the best two cannot be told apart.
    """
    metric, ranking = history.run.metric, configurations(history, purpose=purpose)
    places = [str(place) for place in range(1, len(ranking) + 1)]
    columns: dict[str, list[str]] = {
        "#": [p if c.n == ranking[0].n else "-" for p, c in zip(places, ranking, strict=True)],
    }
    if purpose == "confirm":
        origins = (origin_of(found.trials[0], history) for found in ranking)
        columns["trial"] = [origin.trial_id if origin else "" for origin in origins]
    columns |= {
        "n": [str(found.n) for found in ranking],
        _spread_title(metric): [spread_text(metric, c.mean, c.sd) for c in ranking],
    }
    if trainable is not None:
        columns["trained"] = [f"{trainable[found.trials[0].trial_id]:,}" for found in ranking]
    columns["s/epoch"] = [f"{found.seconds_per_epoch:.2f}" for found in ranking]
    points = [found.parameters for found in ranking]
    table = parameters_table(
        columns,
        parameters=parameter_columns(points, telling_parameters(history)),
        width=width,
        title=f"{history.run.name}: {TITLES[purpose]}",
    )
    missing = None if purpose == "confirm" else table.caption  # the leaderboard has said it
    table.caption = _lines(missing, doubt(ranking, metric=metric))
    return table


def ablation_table(history: History) -> Table:
    """Returns a row for each change, the best first, and one for the unchanged experiment.

    The difference is over the seeds that both have: the same seed brings the same initial
    weights, order, and crops wherever the change leaves them alone.
    """
    metric, ranking = history.run.metric, configurations(history)
    base = unchanged(ranking, history)
    table = plain_table(
        *("n", _spread_title(metric), "difference ± se", "s/epoch"),
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


def _spread_title(metric: str) -> str:
    return f"{METRICS[metric].label}, mean ± sd"


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
