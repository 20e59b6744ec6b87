"""Learning curves: of all trainings of a run, and how far the winner's training is from its
validation."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from markupsafe import Markup

from inat_ray.config.metrics import METRICS
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import in_words
from inat_ray.page.axes import Axis, linear, logarithmic
from inat_ray.page.colors import BLUE, ORANGE, STATES, VIOLET
from inat_ray.page.figure import Figure, Key, Plot
from inat_ray.page.html import Section
from inat_ray.page.leaderboard import CURVES
from inat_ray.page.marks import Area, Dot, Line, Mark
from inat_ray.page.progress import state_keys
from inat_ray.search.winner import chosen_trial, final_training
from inat_ray.terminal.run_texts import score_text, share_text
from inat_ray.terminal.words import counted, gap_text, metric_text, short_names, value_text

MOST_CURVES = 200
"""The most curves in one plot: those of the best trials."""

AFTER = {
    "winner": ("training for the kept model", "line", ORANGE),
    "earlier": ("an earlier winner", "dash", ORANGE),
    "confirm": ("confirmation", "dots", VIOLET),
}
"""What trainings after the search are: words, line, color."""


def curves_section(history: History) -> Section:
    """Draws each training after each epoch, and the winner's distance from its validation."""
    ranked = history.leaderboard()
    others = [t for t in history.trials.values() if t.purpose != "search" and t.epochs]
    trials = [*reversed(ranked[:MOST_CURVES]), *others]  # the best are on top
    metric = history.run.metric
    views = {
        METRICS[metric].label: [_curves(history, trials, metric)],
        "with training accuracy": [_curves(history, trials, "val_accuracy", "train_accuracy")],
        "loss": [_curves(history, trials, "val_loss")],
        "with training loss": [_curves(history, trials, "val_loss", "train_loss")],
    }
    if metric == "val_loss":  # it is the first view
        views.pop("loss")
    caption = f"{counted(len(trials), 'training')}, one line each; its symbol shows how it ended."
    if len(ranked) > MOST_CURVES:
        caption += f" Of {len(ranked)} trials the best {MOST_CURVES} are drawn."
    label = f"Learning curves of {len(trials)} trainings by epoch"
    parts = [Figure(CURVES, label, views, caption)]
    if (shown := final_training(history) or chosen_trial(history)) and len(shown.epochs) > 1:
        parts.append(_gap(shown))
    return Section("Learning curves", CURVES, *parts, trial_texts(history))


def trial_texts(history: History) -> Markup:
    """Returns what the plots' tips say of each trial, by its id, as data for the script."""
    told = {trial.trial_id: _text(history, trial) for trial in history.trials.values()}
    text = json.dumps(told, separators=(",", ":")).replace("<", "\\u003c")
    return Markup('<script type="application/json" id="trial-texts">{}</script>').format(
        Markup(text)
    )


def _text(history: History, trial: TrialHistory) -> str:
    names = short_names(list(trial.parameters))
    values = [f"{names[name]} {value_text(value)}" for name, value in trial.parameters.items()]
    score = score_text(history, trial) or "no result"
    return "\n".join([f"{score}, {in_words(trial.state)}, {share_text(trial)} epochs", *values])


def _curves(
    history: History, trials: Sequence[TrialHistory], metric: str, training: str | None = None
) -> Plot:
    names = [metric, *([training] if training else [])]
    values = [getattr(e, name) for t in trials for e in t.epochs for name in names]
    longest = max((len(trial.epochs) for trial in trials), default=1)
    plot = Plot(_epochs(longest), _value_axis(metric, values), height=440)
    many = sum(trial.purpose == "search" for trial in trials)
    fade = max(0.3, min(0.8, 30 / (many or 1)))
    for trial in trials:
        for name in names:
            plot.add(*_curve(history, trial, metric, name, fade=fade))
    kinds = {_kind(history, trial) for trial in trials}
    plot.legend = [
        *(Key(text, line, color) for kind, (text, line, color) in AFTER.items() if kind in kinds),
        *state_keys(t for t in trials if t.purpose == "search"),
        *([Key("training", "dots")] if training else []),
    ]
    return plot


def _curve(
    history: History, trial: TrialHistory, metric: str, name: str, *, fade: float
) -> Iterator[Mark]:
    """Yields the line of a number of a trial, and, for that on validation, how it ended."""
    kind, (color, shape) = _kind(history, trial), STATES[trial.state]
    _, line, color = AFTER.get(kind, ("", "line", color))
    points = _is_drawn(metric, [(e.epoch, getattr(e, name)) for e in trial.epochs])
    width, opacity = 2.6 if kind == "winner" else 1.4, 1 if kind in AFTER else fade
    dash, series = DASHES[line if name == metric else "dots"], f"{kind}, {name}"
    yield Line(points, color, width, dash, False, opacity, trial.trial_id, series, read=True)
    if points and name == metric:
        yield Dot(*points[-1], color, shape, 3.6, trial=trial.trial_id, data=False)


DASHES = {"line": "", "dash": "7 4", "dots": "2 3"}


def _kind(history: History, trial: TrialHistory) -> str:
    """Returns how a trial of the search ended, or what another training was for."""
    if trial.purpose == "final":
        return "winner" if trial is final_training(history) else "earlier"
    return trial.purpose if trial.purpose in AFTER else trial.state


def _epochs(longest: int) -> Axis:
    return linear("epoch", [1, max(2, longest)], whole=True, most=12)


def _value_axis(metric: str, values: Iterable[float]) -> Axis:
    """Returns the axis of a metric after each epoch; losses are on a log scale."""
    told = METRICS[metric]
    if told.is_share:
        return linear(told.label, values, share=True)
    return logarithmic(f"{told.label}, log scale", (v for v in values if 0 < v < math.inf))


def _is_drawn(metric: str, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns the points that have a place on the axis of the metric."""
    share = METRICS[metric].is_share
    return [(x, y) for x, y in points if math.isfinite(y) and (share or y > 0)]


def _gap(trial: TrialHistory) -> Figure:
    """Draws training beside validation of one training, and what lies between them."""
    plots = []
    for metric, training in (("val_accuracy", "train_accuracy"), ("val_loss", "train_loss")):
        seen = _is_drawn(metric, [(e.epoch, getattr(e, training)) for e in trial.epochs])
        unseen = _is_drawn(metric, [(e.epoch, getattr(e, metric)) for e in trial.epochs])
        label = "accuracy" if metric == "val_accuracy" else "loss, log scale"
        axis = replace(_value_axis(metric, [y for _, y in (*seen, *unseen)]), title=label)
        plot = Plot(_epochs(len(trial.epochs)), axis, height=300)
        if len(seen) == len(unseen) and seen:
            plot.add(Area(seen, unseen, ORANGE))
        plot.add(
            Line(seen, BLUE, 2, dash="7 4", series="training", read=True),
            Line(unseen, ORANGE, 2.4, series="validation", read=True),
        )
        plot.legend = [Key("training", "dash", BLUE), Key("validation", "line", ORANGE)]
        plots.append(plot)
    label = f"Training beside validation of {trial.trial_id}"
    return Figure("gap", label, {"": plots}, _gap_caption(trial), least=330)


def _gap_caption(trial: TrialHistory) -> str:
    last = trial.epochs[-1]
    gap = last.train_accuracy - last.val_accuracy
    side = "more" if gap > 0 else "less"
    return (
        f"One training (n = 1), {trial.trial_id}. After its last epoch"
        f" {metric_text('val_accuracy', last.train_accuracy)} of the training images are classified"
        f" correctly, {gap_text('val_accuracy', abs(gap))} {side} than of the validation images."
        " Training is measured while it goes on, with augmentation and dropout, so without them the"
        " gap would be wider."
    )
