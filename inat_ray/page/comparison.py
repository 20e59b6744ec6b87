"""A page that compares several runs."""

import json
import statistics
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from inat_ray.config.distributions import canonical
from inat_ray.config.metrics import METRICS
from inat_ray.log.history import History, TrialHistory
from inat_ray.page.axes import Axis, downwards, linear, of_metric, round_ticks
from inat_ray.page.colors import BLUE, SERIES
from inat_ray.page.figure import Figure, Key, Plot
from inat_ray.page.html import Cell, Number, Section, missing, paragraph, table, warning
from inat_ray.page.marks import Area, Dot, Line, Whisker, shortened
from inat_ray.page.metrics import (
    best_so_far,
    fall_text,
    look_interval,
    results,
    score_title,
)
from inat_ray.page.reported_run import ReportedRun
from inat_ray.search.winner import over_seeds, winning_trial
from inat_ray.terminal.run_texts import score_text
from inat_ray.terminal.runs_table import compared_settings, setting_text
from inat_ray.terminal.words import (
    counted,
    duration,
    interval_text,
    parameters_text,
    percent,
    span_text,
    spread_text,
)

COLUMNS = ["run", "best on validation", "trials", "epochs", "time", "best configuration"]

NAME = 24
"""The most letters of a run's name beside a row of a figure."""

DASHES = (("line", ""), ("dash", "7 4"), ("dots", "2 3"))
"""Tell runs apart where there are more of them than colors."""

DATA = {
    f"data.{name}"
    for name in ("source", "train", "validation", "test", "validation_fraction", "test_fraction")
} | {"data.share", "data.split_seed"}
"""Settings that decide which images are trained on and validated on."""

Group = tuple[str, list[ReportedRun]]
"""Runs that differ in their seed alone, and what they are called."""

Points = list[tuple[float, float]]


def comparison_sections(runs: Sequence[ReportedRun]) -> list[Section]:
    """Returns results, the searches' progress, and where the experiments differ."""
    notes = [missing(f"{run.name}: {text}") for run in runs for text in run.missing]
    rows = table(COLUMNS, [_row(run) for run in runs], caption="The runs")
    alarms = [warning(text) for text in _data_differences(runs)]
    return [
        Section("Results", "results", *alarms, _tests(runs), rows, *notes),
        Section("Progress", "progress", *_progress(runs)),
        Section("Where they differ", "differences", _differences(runs)),
    ]


def _row(run: ReportedRun) -> list[Cell]:
    history = run.history
    if history.started is None:
        return [run.name, *[None] * (len(COLUMNS) - 1)]
    winner = winning_trial(history)
    return [
        run.name,
        _best_cell(history, winner) if winner else None,
        len(history.searched),
        history.epochs_trained,
        Number(history.seconds, duration(history.seconds)),
        (parameters_text(winner.parameters) or None) if winner else None,
    ]


def _best_cell(history: History, winner: TrialHistory) -> Cell:
    """Returns the winner's mean over seeds, where there are several, else its score."""
    if (sure := over_seeds(history)) is not None and sure.n > 1:
        mean = spread_text(history.run.metric, sure.mean, sure.sd)
        return Number(sure.mean, f"{mean} over {sure.n} seeds")
    score, text = history.score_value(winner), score_text(history, winner)
    return None if score is None or text is None else Number(score, text)


def _tests(runs: Sequence[ReportedRun]) -> Markup | Figure:
    """Draws the newest look of each run at the test set, a row each."""
    looks = [(run.name, run.look) for run in runs if run.look is not None]
    if not looks:
        return missing("No run has looked at the test set.")
    ends = [look_interval(look) for _, look in looks]
    names = [f"{shortened(name, NAME)}  {percent(look.accuracy)}" for name, look in looks]
    axis = linear("test accuracy", [end for each in ends for end in each], share=True)
    plot = Plot(axis, downwards("", names), height=56 + 28 * len(looks))
    for place, ((name, look), (low, high)) in enumerate(zip(looks, ends, strict=True)):
        tip = f"{name}: {percent(look.accuracy)} of {counted(look.images, 'image')}"
        plot.add(
            Whisker(((low, place), (high, place)), BLUE, series="95 % interval"),
            Dot(
                look.accuracy,
                place,
                BLUE,
                size=5,
                series="test accuracy",
                tip=f"{tip}, {interval_text((low, high))}",
            ),
        )
    images = span_text(look.images for _, look in looks)
    caption = (
        f"n = {images} test images; bars are 95 % intervals. A test accuracy belongs to one model:"
        " two whose bars overlap widely are not told apart. Runs are comparable if they saw the"
        " same images."
    )
    if missing_looks := len(runs) - len(looks):
        caption += f" {counted(missing_looks, 'run')} without a look at the test set."
    label = "Test accuracy of " + "; ".join(names)
    return Figure("tests", label, {"": [plot]}, caption)


def _data_differences(runs: Sequence[ReportedRun]) -> Iterator[str]:
    """Yields why results are not of the same images, as far as that is known."""
    splits = {run.name: _split(run) for run in runs}
    known = {name: split for name, split in splits.items() if split is not None}
    first = next(iter(known), "")
    for name, split in known.items():
        if split != known[first]:
            yield (
                f"{name} was not trained and validated on the same images as {first}, so their"
                " results do not compare: see split.json in their folders."
            )
    for key, values in compared_settings(runs).items():
        if key in DATA:
            named = defaultdict(list)
            for run, value in zip(runs, values, strict=True):
                named[setting_text(value)].append(run.name)
            told = "; ".join(f"{text} in {', '.join(names)}" for text, names in named.items())
            yield f"The data differ: {key} is {told}."


def _split(run: ReportedRun) -> str | None:
    """Returns which image is in which part of the run's data; None where it is not known."""
    try:
        return canonical(json.loads(run.folder.split.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _groups(runs: Sequence[ReportedRun]) -> list[Group]:
    """Returns the runs with a result; those that differ in their seed alone are one group."""
    groups: defaultdict[str, list[ReportedRun]] = defaultdict(list)
    for run in runs:
        if run.history.started is not None and results(run.history):
            known = run.experiment and run.experiment.model_dump(
                mode="json", exclude={"seed", "name"}
            )
            kind = run.history.run.method  # one training has a search's settings, too
            groups[f"{kind} {canonical(known)}" if known else run.name].append(run)
    return [
        (
            group[0].name
            if len(group) == 1
            else f"{group[0].name} and {counted(len(group) - 1, 'more seed')}",
            group,
        )
        for group in groups.values()
    ]


def _progress(runs: Sequence[ReportedRun]) -> list[Markup | Figure]:
    """Draws the best so far against epochs spent, and the distribution of results."""
    if len({run.history.run.metric for run in runs if run.history.started is not None}) != 1:
        return [missing("The runs have different metrics, so they are not drawn together.")]
    groups = _groups(runs)
    if not groups:
        return [missing("No run has a result yet.")]
    return [_best_figure(groups), _distribution_figure(groups)]


def _metric_and_title(groups: Sequence[Group]) -> tuple[str, str]:
    """Returns the metric, and what an axis of results is called."""
    history = groups[0][1][0].history
    return history.run.metric, score_title(history)


def _look(place: int) -> tuple[str, str, str]:
    """Returns color, dash, and legend's line of the group at this place."""
    kind, dash = DASHES[place // len(SERIES) % len(DASHES)]
    return SERIES[place % len(SERIES)], dash, kind


def _best_figure(groups: Sequence[Group]) -> Figure:
    found = [[(run.history, best_so_far(run.history)) for run in group] for _, group in groups]
    drawn: list[list[Points]] = [
        [[(x, y) for x, _, y in steps] for _, steps in group] for group in found
    ]
    every = [point for lines in drawn for line in lines for point in line]
    metric, title = _metric_and_title(groups)
    plot = Plot(
        linear("epochs spent by the search", [x for x, _ in every], zero=True, whole=True, most=10),
        of_metric(metric, [y for _, y in every], f"best {title} so far"),
        height=400,
    )
    for place, ((name, _), lines) in enumerate(zip(groups, drawn, strict=True)):
        color, dash, kind = _look(place)
        middle, low, high = _spread(lines)
        if len(lines) > 1:
            plot.add(Area(low, high, color, step=True))
        plot.add(Line(middle, color, 2.2, dash=dash, step=True, series=name))
        plot.legend.append(Key(name, kind, color))
    several = any(len(group) > 1 for _, group in groups)
    falls = next((text for group in found for one in group if (text := fall_text(*one))), "")
    caption = (
        f"n = {sum(len(group) for _, group in groups)} runs."
        + (" Runs that differ in their seed alone are one line, their median; the band reaches from"
           " the worst to the best of them." if several else "")
        + falls
    )  # fmt: skip
    label = f"Best {METRICS[metric].label} of {len(groups)} runs against epochs spent"
    return Figure("best-so-far", label, {"": [plot]}, caption)


def _spread(lines: Sequence[Points]) -> tuple[Points, Points, Points]:
    """Returns median, least and greatest value of several runs, wherever all have one."""
    begin, end = max(line[0][0] for line in lines), min(line[-1][0] for line in lines)
    at = sorted({x for line in lines for x, _ in line if begin <= x <= end})
    values = {x: [line[bisect_right([p for p, _ in line], x) - 1][1] for line in lines] for x in at}
    return (
        [(x, statistics.median(values[x])) for x in at],
        [(x, min(values[x])) for x in at],
        [(x, max(values[x])) for x in at],
    )


def _distribution_figure(groups: Sequence[Group]) -> Figure:
    """Draws the share of each group's trials that got a result or a worse one."""
    metric, title = _metric_and_title(groups)
    scores = [sorted(v for run in group for _, v in results(run.history)) for _, group in groups]
    plot = Plot(
        of_metric(metric, [s for each in scores for s in each], title),
        Axis("share of trials up to it", 0, 1.02, round_ticks(0, 1, share=True), share=True),
        height=360,
    )
    for place, ((name, _), found) in enumerate(zip(groups, scores, strict=True)):
        color, dash, kind = _look(place)
        points = [(found[0], 0.0), *((s, (i + 1) / len(found)) for i, s in enumerate(found))]
        plot.add(Line(points, color, 2.2, dash=dash, step=True, series=name))
        plot.legend.append(Key(f"{name} (n = {len(found)})", kind, color))
    caption = (
        "Empirical distribution of the trials' results. A search whose line lies lower has more"
        " good trials, if the metric is to be maximized; stopped trials count with what they had."
    )
    label = f"Distribution of {METRICS[metric].label} over the trials of {len(groups)} runs"
    return Figure("distribution", label, {"": [plot]}, caption)


def _differences(runs: Sequence[ReportedRun]) -> Markup:
    """Returns the settings that differ, in the words that the terminal uses."""
    if sum(run.experiment is not None for run in runs) < 2:
        return missing("Fewer than two experiments can be read.")
    rows: list[Sequence[Cell]] = [
        [key, *map(setting_text, values)]
        for key, values in compared_settings(runs).items()
        if key != "name"
    ]
    if not rows:
        return paragraph("The runs have the same settings.")
    return table(["setting", *(run.name for run in runs)], rows, caption="Settings that differ")
