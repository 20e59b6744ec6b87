"""A search over time: when each trial trained, what it got, and the best so far."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import in_words
from inat_ray.page.axes import Axis, linear
from inat_ray.page.colors import ORANGE, STATES
from inat_ray.page.figure import Figure, Key, Plot
from inat_ray.page.html import Section
from inat_ray.page.marks import Box, Dot, Line
from inat_ray.page.metrics import (
    Steps,
    best_so_far,
    fall_text,
    results,
    score_axis,
    single_steps,
)
from inat_ray.search.winner import searched_winner
from inat_ray.terminal.words import duration

UNITS = (("seconds", 1), ("minutes", 60), ("hours", 3600), ("days", 86_400))
"""Of time; the first of which there are at most 120 is the axis'."""

LANE = 12
"""Height of a trial in the timeline, in pixels."""


@dataclass(frozen=True)
class _Clock:
    """Turns times into what an axis shows."""

    name: str
    """Of the view."""
    at: Callable[[TrialHistory, float], float]
    """The place of a time in a trial's life."""
    axis: Callable[[list[float]], Axis]
    read: Callable[[float], str]


def progress_section(history: History) -> Section:
    """Draws each trial from its start to its end, at its score, and the best so far."""
    clocks = [_active_clock(history), _spent_clock(history), _trial_clock()]
    found = results(history)
    steps = best_so_far(history)
    views = {clock.name: [_plot(history, clock, found, steps)] for clock in clocks}
    views[clocks[0].name].append(_timeline(history, clocks[0]))
    told = (
        f"{len(found)} trials with a result, each from its start to its end, as high as its"
        f" {'best epoch' if history.stretch == 1 else 'score'}. Below, what trained at one time."
    )
    if history.pauses:
        away = sum(b - a for a, b in history.pauses)
        told += f" {duration(away)} in which the run was stopped are cut out."
    told += fall_text(history, steps)
    label = f"Scores of {len(found)} trials over time, and the best so far"
    return Section("Results over time", "progress", Figure("progress", label, views, told))


def active_time(history: History) -> Callable[[float], float]:
    """Returns a function from a time (since 1970) to the seconds at work before it."""
    ends = [end for _, end in history.pauses]
    away = [0.0]
    for start, end in history.pauses:
        away.append(away[-1] + end - start)
    return lambda time: time - history.run.time - away[bisect_right(ends, time)]


def _active_clock(history: History) -> _Clock:
    active = active_time(history)
    last = max((e.time for t in history.searched for e in t.epochs), default=history.run.time)
    unit, size = next((u for u in UNITS if active(last) <= 120 * u[1]), UNITS[-1])
    return _Clock(
        "active time",
        lambda _, time: active(time) / size,
        lambda values: linear(f"{unit} at work", values, zero=True, most=10),
        lambda value: f"{duration(value * size)}",
    )


def _spent_clock(history: History) -> _Clock:
    times = sorted(e.time for t in history.searched for e in t.epochs)
    return _Clock(
        "epochs spent",
        lambda _, time: bisect_right(times, time),
        lambda values: linear("epochs spent by the search", values, zero=True, whole=True, most=10),
        lambda value: f"{value:.0f} epochs spent",
    )


def _trial_clock() -> _Clock:
    return _Clock(
        "trial",
        lambda trial, _: trial.number,
        lambda values: linear("trial, in order of start", values, whole=True, most=10),
        lambda value: f"number {value:.0f}",
    )


def _plot(
    history: History, clock: _Clock, found: Sequence[tuple[TrialHistory, float]], steps: Steps
) -> Plot:
    winner = searched_winner(history)
    spans = {t.trial_id: (clock.at(t, t.started), clock.at(t, t.epochs[-1].time)) for t, _ in found}
    line = [(clock.at(history.trials[e.trial_id], e.time), value) for _, e, value in steps]
    times = [place for span in spans.values() for place in span]
    plot = Plot(
        clock.axis(times),
        score_axis(history, [*(value for _, value in found), *(value for _, _, value in steps)]),
        height=380,
    )
    for trial, value in found:
        name, (color, shape) = trial.trial_id, STATES[trial.state]
        start, end = spans[name]
        if end > start:
            whole = [(start, value), (end, value)]
            plot.add(Line(whole, color, opacity=0.55, trial=name, data=False))
        dot = Dot(end, value, color, shape, 4.5, name, clock.read(end), in_words(trial.state))
        plot.add(replace(dot, ringed=trial is winner))
    plot.legend = [Key("best so far", "line", ORANGE), *state_keys(t for t, _ in found)]
    if single := single_steps(history, steps):
        text = "best epoch so far"
        plot.add(Line(line[: single + 1], ORANGE, 1.5, "2 3", step=True, series=text))
        plot.legend.insert(0, Key(text, "dots", ORANGE))
    plot.add(Line(line[single:], ORANGE, 2.5, step=True, series="best so far"))
    return plot


def state_keys(trials: Iterable[TrialHistory]) -> list[Key]:
    """Returns the entries of a legend that say how these trials ended."""
    there = {trial.state for trial in trials}
    return [
        Key(in_words(state), shape, color)
        for state, (color, shape) in STATES.items()
        if state in there
    ]


def _timeline(history: History, clock: _Clock) -> Plot:
    """Draws a bar a stretch of training, in the lowest lane that is free when it begins."""
    pieces = sorted(
        ((start, end, trial) for trial in history.searched for start, end in _pieces(trial)),
        key=lambda piece: piece[:2],
    )
    ends: list[float] = []
    plot = Plot(clock.axis([]), linear("", [0]))
    for start, end, trial in pieces:
        lane = next((i for i, free in enumerate(ends) if free <= start + 0.5), len(ends))
        ends[lane : lane + 1] = [end]
        color, _ = STATES[trial.state]
        low, high = (clock.at(trial, start), lane + 0.14), (clock.at(trial, end), lane + 0.86)
        plot.add(Box(low, high, color, trial=trial.trial_id))
    plot.x = clock.axis([clock.at(trial, time) for a, b, trial in pieces for time in (a, b)])
    plot.y = Axis("at the same time", 0, max(1, len(ends)), [])
    plot.height = 62 + LANE * len(ends)
    return plot


def _pieces(trial: TrialHistory) -> Iterator[tuple[float, float]]:
    """Yields the (start, end) in which a trial trained: pauses are longer than its own epochs."""
    start = end = None
    for epoch in trial.epochs:
        begun = max(trial.started, epoch.time - epoch.seconds)
        if start is None or end is None:
            start = begun
        elif begun - end > max(2.0, epoch.seconds):
            yield start, end
            start = begun
        end = epoch.time
    if start is not None and end is not None:
        yield start, end
