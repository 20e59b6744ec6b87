"""Where a run stands, in words: its trials, epochs, speed, times, and best result so far.

Each docstring shows the text that its function returns.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from inat_ray.config.metrics import METRICS
from inat_ray.config.search import MAX_TRIALS
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import (
    JSON,
    BudgetName,
    FinishAsked,
    SearchChanged,
    Steering,
    StopAsked,
    TrialPicked,
)
from inat_ray.search.winner import confirmed, final_training, origin_of
from inat_ray.terminal.estimate import epochs_planned, running_trials, seconds_left
from inat_ray.terminal.words import (
    command_text,
    counted,
    counts_text,
    duration,
    metric_text,
    spread_text,
    value_text,
)

DAY = 86_400


def states_text(history: History) -> str:
    """'12 of 20 trials: 3 finished, 9 stopped; 4 confirming: 2 finished, 2 running'."""
    counts = counts_text(history.states)
    begun, planned = len(history.searched), history.planned_trials
    text = counted(begun, "trial") if planned is None else f"{begun} of {planned} trials"
    text += f": {counts}" if counts else ""
    if beyond := len(history.beyond):
        text += f"; {counted(beyond, 'point')} beyond the limits, not trained"
    if confirming := history.confirming:
        counts = counts_text(Counter(trial.state for trial in confirming))
        text += f"; {len(confirming)} confirming: {counts}"
    return text


def epochs_text(history: History) -> str:
    """'96 epochs of 240 planned, 58 saved by stopping early' (of the search)."""
    saved, planned = history.epochs_saved, epochs_planned(history)
    text = counted(history.epochs_spent, "epoch")
    if planned is not None:
        text += f" of {planned:,} planned"
    return text + (f", {saved:,} saved by stopping early" if saved else "")


def speed_text(history: History) -> str | None:
    """'1,000 images/s', the sum of all running trials; None before the first epoch."""
    speed = sum(t.epochs[-1].images_per_second for t in running_trials(history) if t.epochs)
    return f"{speed:,.0f} images/s" if speed else None


def times_text(history: History, *, now: float) -> str:
    """'2:03 elapsed, about 4:00 left'."""
    elapsed = f"{duration(history.seconds_at(now))} elapsed"
    left = seconds_left(history, now=now)
    return elapsed if left is None else f"{elapsed}, about {duration(left)} left"


def end_text(history: History, *, now: float) -> str | None:
    """'until 21:43', or 'until Tue 21:43' if that is a day away; None without an estimate."""
    left = seconds_left(history, now=now)
    if left is None:
        return None
    clock = "%H:%M" if left < DAY else "%a %H:%M"
    return f"until {time.strftime(clock, time.localtime(now + left))}"


def best_text(history: History, best: TrialHistory) -> str:
    """'best score 91.2 % (trial_0004)', of the trial that would win if the search ended now.

    After a confirmation: 'confirmed 90.2 ± 0.4 % over 3 seeds (trial_0004)'.
    """
    if best.purpose == "confirm" and (sure := confirmed(history)) is not None:
        mean = spread_text(history.run.metric, sure.mean, sure.sd)
        searched = origin_of(best, history) or best
        return f"confirmed {mean} over {counted(sure.n, 'seed')} ({searched.trial_id})"
    return f"best {score_text(history, best)} ({best.trial_id})"


def kept_model_text(history: History) -> str | None:
    """'kept model val acc 90.7 % (winner)', from its own training; None before that."""
    final = final_training(history)
    best = None if final is None else history.best_value(final)
    if final is None or best is None:
        return None
    metric = history.run.metric
    label = METRICS[metric].label
    return f"kept model {label} {metric_text(metric, best)} ({final.trial_id})"


def score_text(history: History, trial: TrialHistory) -> str | None:
    """'score 91.2 %'; 'val acc 91.2 %' where that is the best epoch's; None without a result."""
    label, text = score_label(history), score_value_text(history, trial)
    return None if text is None else f"{label} {text}"


def score_label(history: History) -> str:
    """'score', or 'val acc' where that is the best epoch's."""
    return METRICS[history.run.metric].label if history.stretch == 1 else "score"


def score_value_text(history: History, trial: TrialHistory) -> str | None:
    """'91.2 %', or '(91.2 %)' of a trial without a whole stretch; None without a result."""
    score = history.score_of(trial)
    if score is None:
        return None
    text = metric_text(history.run.metric, history.turned(score.value))
    return text if score.whole else f"({text})"


def score_meaning(history: History, *, bracketed: bool = True) -> str:
    """Explains a column of scores; it is empty where the score is the best epoch's.

    `bracketed`: whether there are scores of trials without a whole stretch.
    """
    if history.stretch == 1:
        return ""
    mean = f"best mean {METRICS[history.run.metric].label} of {history.stretch} epochs in a row"
    brackets = "; in brackets the best epoch of a trial that has not as many"
    return f"score: {mean} (of all, if fewer are planned)" + brackets * bracketed


def share_text(trial: TrialHistory) -> str:
    """'3/8', the epochs that are done and those that are planned."""
    return f"{len(trial.epochs)}/{trial.planned_epochs}"


def steering_texts(steering: Sequence[tuple[int, Steering]]) -> list[str]:
    """'2026-03-01 12:03, after 14 trials: recipe.lr: max 0.003 instead of 0.01', and so on."""
    return [
        f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(record.time))}, after"
        f" {counted(begun, 'trial')}: {steering_text(record, begun=begun)}"
        for begun, record in steering
    ]


def steering_text(record: Steering, *, begun: int) -> str:
    """'recipe.lr: max 0.003 instead of 0.01; 30 trials planned'; `begun`: how many had begun."""
    match record:
        case StopAsked():
            return f"{record.trial_id} ends after epoch {record.epochs}"
        case FinishAsked():
            return "the search ends"
        case TrialPicked():
            return f"{record.trial_id} is trained for the model instead of the winner"
        case SearchChanged():
            parts = [
                f"{name}: {', '.join(_differences(record.before[name], spec))}"
                for name, spec in record.parameters.items()
            ]
            parts += [
                f"search.{name}: {_budget_text(name, now)} instead of {_budget_text(name, before)}"
                for name, now in record.budgets.items()
                if now != (before := record.budgets_before.get(name))
            ]
            is_plan = record.parameters and record.trials < MAX_TRIALS
            if parts and not (is_plan or record.budget):
                return "; ".join(parts)
            planned = f"{counted(record.trials, 'trial')} planned"
            more = f", {begun} have begun and go on" if begun > record.trials else ""
            return "; ".join([*parts, planned + more])


def _budget_text(name: BudgetName, budget: float | None) -> str:
    return duration(budget) if name == "time" and budget is not None else value_text(budget)


def _differences(before: Mapping[str, JSON], now: Mapping[str, JSON]) -> Iterator[str]:
    for key in dict.fromkeys([*before, *now]):
        if before.get(key) != now.get(key):
            yield f"{key} {_of_a_spec(now.get(key))} instead of {_of_a_spec(before.get(key))}"


def _of_a_spec(value: JSON) -> str:
    return ", ".join(map(value_text, value)) if isinstance(value, list) else value_text(value)


def resume_command(history: History, run: object, *options: object) -> str:
    """Returns the command that resumes the run in the folder, or at the address, `run`."""
    return command_text("train" if history.is_training else "sweep", "--resume", run, *options)
