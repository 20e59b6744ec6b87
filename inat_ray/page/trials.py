"""A search trial by trial: leaderboard, cost beside accuracy, rungs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from markupsafe import Markup

from inat_ray.config.search import EarlyStopping
from inat_ray.log.costs import Cost
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import EpochEnded
from inat_ray.page.axes import categories, logarithmic, of_metric
from inat_ray.page.colors import BLUE, GRAY, ORANGE
from inat_ray.page.figure import Figure, Key, Plot
from inat_ray.page.html import Cell, Section, folded, paragraph, table
from inat_ray.page.leaderboard import cost_cell, score_cell
from inat_ray.page.marks import Dot, Line
from inat_ray.page.metrics import results, score_axis
from inat_ray.page.scored import jitter
from inat_ray.search.front import Fronts
from inat_ray.search.schedulers import rungs
from inat_ray.search.winner import searched_winner
from inat_ray.terminal.words import cost_text


def front_section(history: History, found: Fronts) -> Section:
    """Draws score against each cost in which the trials differ, and lists those on the fronts."""
    shown = {trial.trial_id for _, trials in found for trial in trials}
    rows: list[list[Cell]] = [
        [
            rank,
            trial.trial_id,
            score_cell(history, trial),
            *(cost_cell(trial, cost) for cost, _ in found),
            ", ".join(cost.label for cost, front in found if trial in front),
        ]
        for rank, trial in enumerate(history.leaderboard(), start=1)
        if trial.trial_id in shown
    ]
    columns = ["#", "trial", "score", *(cost.label for cost, _ in found), "best for its"]
    text = Markup(
        "A trial is on a front if no other one costs as little and is as good. Hollow points are"
        " trials that ended too early to be judged. Gaps smaller than those between seeds say"
        " little. To keep another one than the winner as the run's model:"
        " <code>inat-ray sweep --resume RUN --pick TRIAL</code>"
    )
    figure = Figure(
        "front",
        f"{len(history.leaderboard())} trials by their {', '.join(c.label for c, _ in found)}",
        {"": [_front_plot(history, cost, trials) for cost, trials in found]},
        f"{len(history.leaderboard())} trials; the winner is ringed.",
        least=250,
        keys=[
            Key("on the front", "circle", ORANGE),
            Key("trial", "circle", GRAY),
            Key("ended early", "circle-open", GRAY),
        ],
    )
    listed = table(columns, rows, caption="The best first")
    listed = folded(listed, summary="The trials on the fronts")
    return Section("Cost beside accuracy", "front", paragraph(text), figure, listed)


def _front_plot(history: History, cost: Cost, on_front: list[TrialHistory]) -> Plot:
    """Draws all trials by a cost, and the front as a line that steps from the cheapest on."""
    known = [(t, amount, value) for t, value in results(history) if (amount := cost.of(t))]
    winner = searched_winner(history)
    plot = Plot(
        logarithmic(cost.label, [amount for _, amount, _ in known], text=partial(cost_text, cost)),
        score_axis(history, [value for _, _, value in known]),
        height=320,
    )
    front = [point for t in on_front for point in known if point[0] is t]
    plot.add(Line([point[1:] for point in front], ORANGE, 2, step=True, data=False))
    for trial, amount, value in known:
        score = history.score_of(trial)
        shape = "circle" if score is not None and score.whole else "circle-open"
        color, series = (ORANGE, "front") if trial in on_front else (GRAY, "trials")
        dot = Dot(amount, value, color, shape, 4, trial.trial_id, cost_text(cost, amount), series)
        plot.add(replace(dot, ringed=trial is winner))
    return plot


Rungs = Mapping[int, Sequence[tuple[EpochEnded, bool]]]
"""Epoch -> the record of each trial that reached the rung, and whether it trained further."""


GOES_ON, ENDS = Key("went on", "circle", BLUE), Key("ended there", "x", GRAY)


def rungs_section(history: History, settings: EarlyStopping) -> Section:
    """Shows which trials reached each rung of successive halving, and which of them went on."""
    last = max((len(trial.epochs) for trial in history.searched), default=0)
    there = {rung: _at_rung(history, rung) for rung in rungs(settings, last - 1)}
    text = (
        f"{settings.kind}: at each rung, the best 1/{settings.reduction_factor} of the trials that"
        " have reached it so far go on; the first to arrive have few to be compared with. With"
        " asha_promotion, all pass first rungs that told little of the next one."
    )
    drawn = _rungs_plot(there, metric=history.run.metric)
    return Section("Early stopping", "rungs", paragraph(text), drawn)


def _at_rung(history: History, epoch: int) -> list[tuple[EpochEnded, bool]]:
    return [
        (trial.epochs[epoch - 1], len(trial.epochs) > epoch)
        for trial in history.searched
        if epoch <= len(trial.epochs) and epoch < trial.planned_epochs
    ]


def _rungs_plot(found: Rungs, *, metric: str) -> Figure:
    records = [(place, *each) for place, there in enumerate(found.values()) for each in there]
    plot = Plot(
        categories("rung: how many went on", [_rung_text(*rung) for rung in found.items()]),
        of_metric(metric, (getattr(record, metric) for _, record, _ in records)),
    )
    for number, (place, record, goes_on) in enumerate(records):
        key = GOES_ON if goes_on else ENDS
        tip, side = f"after epoch {record.epoch}", 14 if goes_on else -14
        value, name = getattr(record, metric), record.trial_id
        dot = Dot(place, value, key.color, key.shape, 4, name, tip, series=key.text)
        plot.add(replace(dot, shift=side + 18 * jitter(number)))
    plot.legend = [GOES_ON, ENDS]
    caption = f"{len({r.trial_id for _, r, _ in records})} trials, at each rung that they reached."
    label = "Trials at each rung, and which of them went on"
    return Figure("rungs", label, {"": [plot]}, caption)


def _rung_text(epoch: int, there: Sequence[tuple[EpochEnded, bool]]) -> str:
    """'epoch 3: 12/40'."""
    return f"epoch {epoch}: {sum(goes_on for _, goes_on in there)}/{len(there)}"
