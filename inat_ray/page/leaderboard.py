"""The leaderboard: every trial of a search, the best first."""

from collections.abc import Sequence

from markupsafe import Markup

from inat_ray.config.metrics import METRICS
from inat_ray.log.costs import COSTS, Cost, costs_of
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import in_words
from inat_ray.page.colors import STATES
from inat_ray.page.html import Cell, Number, Section, hint, table
from inat_ray.page.metrics import metric_cell
from inat_ray.terminal.run_texts import score_meaning, score_value_text, share_text
from inat_ray.terminal.search_tables import shown_metrics
from inat_ray.terminal.words import cost_text, short_names, value_text

MOST_ROWS = 500
"""The most rows of the leaderboard; all trials are in trials.parquet."""

HINT = (
    "A row selects its trial in every plot, with Shift one more; its name leads to its curve (Space"
    " selects it), a column's head sorts."
)

CURVES = "learning-curves"
"""The anchor of the section to which a trial's name leads."""


def leaderboard_section(history: History) -> Section:
    """Lists every trial, the best first; those without a result last."""
    without = [trial for trial in history.searched if history.best_value(trial) is None]
    shown = [*history.leaderboard(), *without][:MOST_ROWS]
    names = short_names(list(history.run.parameters))
    known = {name for trial in shown for name in costs_of(trial)}
    costs = [cost for name, cost in COSTS.items() if name in known]
    meaning = score_meaning(history)
    columns = ["#", "trial", *_result_columns(history), "epochs", "state", *names.values()]
    columns += ["seconds", *(cost.label for cost in costs)]
    rows = [_row(history, t, rank=rank, costs=costs) for rank, t in enumerate(shown, start=1)]
    caption = (
        f"{len(shown)} trials, the best first. Dots have one scale, from the least to the greatest"
        " score."
    )
    if left_out := len(history.searched) - len(shown):
        caption += f" {left_out} more are in trials.parquet."
    if meaning:
        caption += f" {meaning[0].upper()}{meaning[1:]}."
    listed = table(columns, rows, caption=caption, trials=[trial.trial_id for trial in shown])
    return Section("Leaderboard", "leaderboard", hint(HINT), listed)


def _result_columns(history: History) -> list[str]:
    labels = [METRICS[metric].label for metric in shown_metrics(history.run.metric)]
    return labels if history.stretch == 1 else ["score", *(f"best {label}" for label in labels)]


def _row(history: History, trial: TrialHistory, *, rank: int, costs: Sequence[Cost]) -> list[Cell]:
    best = trial.best(history.run.metric)
    others = shown_metrics(history.run.metric)[history.stretch == 1 :]
    seconds = sum(epoch.seconds for epoch in trial.epochs)
    return [
        rank if best is not None else None,
        Markup('<a href="#{0}" data-trial="{1}">{1}</a>').format(CURVES, trial.trial_id),
        score_cell(history, trial, dotted=True),
        *(metric_cell(metric, best) for metric in others),
        Number(len(trial.epochs), share_text(trial)),
        _state(trial),
        *(_parameter(trial, name) for name in history.run.parameters),
        Number(seconds, f"{seconds:.1f}"),
        *(cost_cell(trial, cost) for cost in costs),
    ]


def _state(trial: TrialHistory) -> Markup:
    color, symbol = STATES[trial.state]
    full = "" if symbol.endswith("-open") else " full"
    text = in_words(trial.state) + (f": {trial.error}" if trial.error else "")
    return Markup('<span class="state{}" style="--its: {}">{}</span>').format(full, color, text)


def score_cell(history: History, trial: TrialHistory, *, dotted: bool = False) -> Cell:
    """Returns a trial's score; a dot is for those that others may be compared with."""
    score, text = history.score_of(trial), score_value_text(history, trial)
    if score is None or text is None:
        return None
    return Number(history.turned(score.value), text, dotted=dotted and score.whole)


def cost_cell(trial: TrialHistory, cost: Cost) -> Cell:
    value = cost.of(trial)
    return None if value is None else Number(value, cost_text(cost, value))


def _parameter(trial: TrialHistory, name: str) -> Cell:
    if name not in trial.parameters:
        return None
    value = trial.parameters[name]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Number(value, value_text(value)) if is_number else value_text(value)
