"""The leaderboard: every trial of a search, the best first."""

from collections.abc import Sequence

from markupsafe import Markup

from inat_ray.config.metrics import METRICS
from inat_ray.log.costs import COSTS, Cost, costs_of
from inat_ray.log.history import History, TrialHistory
from inat_ray.page.html import Cell, Number, Section, table
from inat_ray.page.metrics import metric_cell
from inat_ray.terminal.run_texts import judged_text, score_meaning, share_text
from inat_ray.terminal.search_tables import shown_metrics
from inat_ray.terminal.words import cost_text, short_names, value_text

MOST_ROWS = 500
"""The most rows of the leaderboard; all trials are in trials.parquet."""

CURVES = "learning-curves"
"""The anchor of the section to which a trial's name leads."""


def leaderboard_section(history: History) -> Section:
    """Lists every trial, the best first; those without a result last."""
    without = [trial for trial in history.searched if history.best_value(trial) is None]
    shown = [*history.leaderboard(), *without][:MOST_ROWS]
    labels = [METRICS[metric].label for metric in shown_metrics(history.run.metric)]
    names = short_names(list(history.run.parameters))
    known = {name for trial in shown for name in costs_of(trial)}
    costs = [cost for name, cost in COSTS.items() if name in known]
    meaning = score_meaning(history)
    columns = ["#", "trial", *(["score"] if meaning else []), *labels, "epochs", "state", "seconds"]
    columns += [*(cost.label for cost in costs), *names.values()]
    rows = [_row(history, t, rank=rank, costs=costs) for rank, t in enumerate(shown, start=1)]
    caption = "All trials, best first. Click a name to see the trial's curve, a column to sort."
    if left_out := len(history.searched) - len(shown):
        caption += f" {left_out} more are in trials.parquet."
    if meaning:
        caption += f" {meaning.capitalize()}; the other values are the best epoch's."
    return Section("Leaderboard", "leaderboard", table(columns, rows, caption=caption))


def _row(history: History, trial: TrialHistory, *, rank: int, costs: Sequence[Cost]) -> list[Cell]:
    best = trial.best(history.run.metric)
    seconds = sum(epoch.seconds for epoch in trial.epochs)
    return [
        rank if best is not None else None,
        Markup('<a href="#{0}" data-trial="{1}">{1}</a>').format(CURVES, trial.trial_id),
        *([score_cell(history, trial)] if history.stretch > 1 else []),
        *(metric_cell(metric, best) for metric in shown_metrics(history.run.metric)),
        Number(len(trial.epochs), share_text(trial)),
        f"{trial.state}: {trial.error}" if trial.error else trial.state,
        Number(seconds, f"{seconds:.1f}"),
        *(cost_cell(trial, cost) for cost in costs),
        *(_parameter(trial, name) for name in history.run.parameters),
    ]


def score_cell(history: History, trial: TrialHistory) -> Cell:
    value, text = history.score_value(trial), judged_text(history, trial)
    return None if value is None or text is None else Number(value, text)


def cost_cell(trial: TrialHistory, cost: Cost) -> Cell:
    value = cost.of(trial)
    return None if value is None else Number(value, cost_text(cost, value))


def _parameter(trial: TrialHistory, name: str) -> Cell:
    if name not in trial.parameters:
        return None
    value = trial.parameters[name]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Number(value, value_text(value)) if is_number else value_text(value)
