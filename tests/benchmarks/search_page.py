"""What the benchmark of searches found: means and errors over seeds, as JSON, Markdown, picture."""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from pathlib import Path
from typing import Any

import numpy as np

OWN = "as it hands over"
BEST_EPOCH = "best epoch"
CONFIRMED = "confirmed"
DEFAULT = "TPE + ASHA promotion"
"""Ours, with which all are compared."""

Regrets = dict[str, list[float]]
"""Rule of choosing -> regret at each checkpoint."""


@dataclass
class Followed:
    """What became of one search."""

    table: str
    way: str
    seed: int
    epochs: Regrets
    seconds: Regrets
    """The same after the seconds that they would take; empty where no seconds were recorded."""
    confirmation: int | None
    """Epochs of the confirmation after the last checkpoint."""
    good: int | None
    """Epochs until a configuration that is truly within a point of the best was trained."""
    minutes: float
    """Of a processor."""


def summary(runs: Sequence[Followed], *, checkpoints: Sequence[int]) -> dict[str, Any]:
    """Means, standard errors, and differences from ours, paired by seed, of every table."""
    groups: defaultdict[str, list[Followed]] = defaultdict(list)
    for run in runs:
        stem = Path(run.table).stem
        groups["TaskSet" if stem.startswith("taskset_") else stem].append(run)
    tables = {title: _table(group) for title, group in groups.items()}
    return {"checkpoints": list(checkpoints), "tables": tables}


def _table(runs: Sequence[Followed]) -> dict[str, Any]:
    found: dict[str, Any] = {"of": sorted({Path(run.table).name for run in runs}), "ways": {}}
    base = {axis: _by_seed(runs, DEFAULT, axis).get(OWN) for axis in ("epochs", "seconds")}
    for way in dict.fromkeys(run.way for run in runs):
        lines: dict[str, Any] = {"n": len({run.seed for run in runs if run.way == way})}
        for axis, ours in base.items():
            for rule, regrets in _by_seed(runs, way, axis).items():
                lines.setdefault(axis, {})[rule] = _line(regrets, ours)
        good = [run.good if run.good is not None else inf for run in runs if run.way == way]
        lines["good"] = [len([each for each in good if isfinite(each)]), len(good)]
        middle = statistics.median(good)
        lines["epochs_to_good"] = middle if isfinite(middle) else None
        told = [run.confirmation for run in runs if run.way == way and run.confirmation]
        lines["confirmation"] = statistics.median(told) if told else None
        found["ways"][way] = lines
    return found


def _by_seed(runs: Sequence[Followed], way: str, axis: str) -> dict[str, np.ndarray]:
    """Rule -> regrets, shape (seeds, checkpoints and their mean); means over a group's tables."""
    seeds: defaultdict[str, defaultdict[int, list[list[float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for run in runs:
        for rule, regrets in getattr(run, axis).items() if run.way == way else ():
            seeds[rule][run.seed].append([*regrets, statistics.fmean(regrets)])
    return {
        rule: np.array([np.mean(found[seed], axis=0) for seed in sorted(found)])
        for rule, found in seeds.items()
    }


def _line(regrets: np.ndarray, ours: np.ndarray | None) -> dict[str, list[float]]:
    found = {"mean": regrets.mean(0), "se": _error(regrets)}
    if ours is not None and ours is not regrets and len(ours) == len(regrets):
        found |= {"minus_ours": (regrets - ours).mean(0), "minus_ours_se": _error(regrets - ours)}
    return {name: [round(float(each), 4) for each in values] for name, values in found.items()}


def _error(values: np.ndarray) -> np.ndarray:
    error: np.ndarray = values.std(0, ddof=min(1, len(values) - 1)) / sqrt(len(values))
    return error


def section(tree: Mapping[str, Any]) -> str:
    """Markdown: all tables."""
    found = tree["conditions"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [
        f"Measured by `make benchmark-search` on {found['date']}: {found['processor']},"
        f" {found['cores']} cores, {tree['processor_minutes']:.0f} minutes of one; {versions}.",
        "",
    ]
    for title in tree["tables"]:
        lines += [*table_of(tree, title), ""]
    return "\n".join(lines)


def table_of(tree: Mapping[str, Any], title: str) -> Iterator[str]:
    table, checkpoints = tree["tables"][title], tree["checkpoints"]
    n = min(lines["n"] for lines in table["ways"].values())
    of = f", the mean of {len(table['of'])} tables" if len(table["of"]) > 1 else ""
    head = [f"{title}{of} (n = {n})", *map(str, checkpoints), "mean", "minus ours (se)"]
    timed = any("seconds" in lines for lines in table["ways"].values())
    head += ["in time", "minus ours (se)"] if timed else []
    yield _row([*head, "first good †"])
    yield _row(["---", *["---:"] * len(head)])
    for way, lines in table["ways"].items():
        for rule, line in lines["epochs"].items():
            if not _is_shown(way, rule, lines):
                continue
            cells = [_name(way, rule, lines), *(f"{100 * each:.1f}" for each in line["mean"])]
            cells.append(_difference(line))
            if timed:
                late = lines["seconds"].get(rule)
                cells += [f"{100 * late['mean'][-1]:.1f}", _difference(late)] if late else ["", ""]
            yield _row([*cells, _good(lines) if rule == OWN else ""])


def _is_shown(way: str, rule: str, lines: Mapping[str, Any]) -> bool:
    """Other tools are shown by both rules where these differ: their own may be a bad one."""
    differs = lines["epochs"][rule]["mean"] != lines["epochs"][OWN]["mean"]
    return rule == OWN or way == DEFAULT or (_is_other(way) and differs)


def _is_other(way: str) -> bool:
    """Whether it is another tool's, whose name stands before a colon."""
    return ":" in way


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _name(way: str, rule: str, lines: Mapping[str, Any]) -> str:
    if rule == CONFIRMED:
        return f"{way}, confirmed (+{lines['confirmation']:.0f} epochs)"
    name = way if rule == OWN else f"{way}, {rule}"
    return f"**{name}**" if (way, rule) == (DEFAULT, OWN) else name


def _difference(line: Mapping[str, list[float]]) -> str:
    """Of the means over the checkpoints; bold where it is clear."""
    if "minus_ours" not in line or not any(line["minus_ours"]):
        return ""
    mean, error = 100 * line["minus_ours"][-1], 100 * line["minus_ours_se"][-1]
    text = f"{mean:+.1f} ({error:.1f})"
    return f"**{text}**" if abs(mean) > 2 * error else text


def _good(lines: Mapping[str, Any]) -> str:
    reached, of = lines["good"]
    middle = lines["epochs_to_good"]
    return f"{'-' if middle is None else format(middle, '.0f')} ({reached}/{of})"


def draw(tree: Mapping[str, Any], path: Path) -> None:
    """Regret by epochs, a panel for each table, with a standard error either way.

    Other tools are dashed, and by the better of the two rules of choosing.
    """
    from matplotlib import pyplot

    tables, checkpoints = tree["tables"], tree["checkpoints"]
    figure, panels = pyplot.subplots(
        1, len(tables), figsize=(4 * len(tables), 4.5), layout="constrained", squeeze=False
    )
    for panel, (title, table) in zip(panels[0], tables.items(), strict=True):
        for way, lines in table["ways"].items():
            both = [lines["epochs"][rule] for rule in (OWN, BEST_EPOCH)]
            line = min(both, key=lambda each: each["mean"][-1]) if _is_other(way) else both[0]
            mean, error = (100 * np.array(line[name][:-1]) for name in ("mean", "se"))
            style = "--" if _is_other(way) else "-"
            label = way if panel is panels[0][0] else None
            (drawn,) = panel.plot(checkpoints, mean, style, label=label, linewidth=1.5)
            panel.fill_between(
                checkpoints, mean - error, mean + error, color=drawn.get_color(), alpha=0.12
            )
        panel.set(title=title, xscale="log", ylim=(0, None), xlabel="epochs, of all trials")
        panel.set_xticks(checkpoints, map(str, checkpoints), minor=False)
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("regret, % of median to best")
    figure.legend(fontsize="small", loc="outside lower center", ncols=4)
    figure.savefig(path)
