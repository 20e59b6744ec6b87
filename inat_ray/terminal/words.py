"""How values, shares, counts, and durations are written, in the terminal and in the report.

Most docstrings show the text that their function returns.
"""

import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import get_args

from inat_ray.config.metrics import METRICS
from inat_ray.log.costs import Cost
from inat_ray.log.records import JSON, TrialState, in_words

PACKAGE = Path(__file__).parents[1]


def command_text(name: str, *args: object) -> str:
    """Returns a command line to paste, with the arguments quoted for a shell.

    It is as this process was called: `inat-ray sweep` or, where a person wrote that,
    `python -m inat_ray.sweep`.
    """
    is_module = Path(sys.argv[0]).parent == PACKAGE  # python -m puts the module's file there
    line = f"python -m inat_ray.{name}" if is_module else f"inat-ray {name}"
    return shlex.join([*line.split(), *map(str, args)])


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def interval_text(ends: Sequence[float]) -> str:
    """'71.5 to 77.8 %', from two shares."""
    low, high = ends
    return f"{100 * low:.1f} to {percent(high)}"


def metric_text(metric: str, value: float) -> str:
    """'91.2 %' for a share, '0.312' for any other metric."""
    return percent(value) if METRICS[metric].is_share else f"{value:.3f}"


def spread_text(metric: str, mean: float, sd: float | None) -> str:
    """'91.2 ± 0.4 %' or '0.312 ± 0.010'; the mean alone without a deviation."""
    numbers = [mean] if sd is None else [mean, sd]
    if METRICS[metric].is_share:
        return " ± ".join(f"{100 * n:.1f}" for n in numbers) + " %"
    return " ± ".join(f"{n:.3f}" for n in numbers)


def gap_text(metric: str, gap: float) -> str:
    """A difference between two values of a metric: '1.3 points', or '0.013'."""
    return f"{100 * gap:.1f} points" if METRICS[metric].is_share else f"{gap:.3f}"


def duration(seconds: float) -> str:
    """'1:02:03', or '2:03'."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def span_text(counts: Iterable[int]) -> str:
    """'3 to 5', from the least to the greatest of some counts; '3' if all are alike."""
    known = set(counts)
    return " to ".join(str(end) for end in sorted({min(known), max(known)}))


def counted(count: int, noun: str) -> str:
    """'1 epoch', '3 epochs'."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def looks_text(looks: int) -> str:
    """'1', or '3: the newest counts; one by which a model is chosen is optimistic'."""
    more = ": the newest counts; one by which a model is chosen is optimistic"
    return f"{looks}{more if looks > 1 else ''}"


def amount_text(count: float) -> str:
    """'4.65 M', '390 M', '1.2 G', '850': three digits of a count."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if count >= 0.9995 * size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f}"


def cost_text(cost: Cost, value: float | None) -> str:
    """'4.65 M', '1.20 GiB' or '0.213', by the cost's unit; - where it is not known."""
    if value is None:
        return "-"
    if cost.unit == "bytes":
        return f"{value / 2**30:.2f} GiB"
    return f"{value:.3g}" if cost.unit == "ms" else amount_text(value)


def counts_text(counts: Mapping[TrialState, int]) -> str:
    """'3 finished, 9 stopped'."""
    running, *ended = get_args(TrialState)
    return ", ".join(f"{counts[s]} {in_words(s)}" for s in (*ended, running) if counts.get(s))


def value_text(value: JSON) -> str:
    """'0.00123', '32-64-128', 'mish', 'true'; of a mapping, 'fraction 0.3', 'cutmix 1 erase 0.2'.

    A word of a mapping says what it is; anything else follows its name.
    """
    if isinstance(value, dict):
        words: list[str] = []
        for name, item in value.items():
            named = isinstance(item, str) or words[-1:] == [name]
            words += [value_text(item)] if named else [name, value_text(item)]
        return " ".join(words)
    if isinstance(value, list):
        return "-".join(value_text(item) for item in value)
    if isinstance(value, float):
        return f"{value:.3g}"
    return value if isinstance(value, str) else json.dumps(value)


def parameters_text(parameters: Mapping[str, JSON]) -> str:
    """'lr=0.003 filters=32-64-128', with short names."""
    short = short_names(list(parameters))
    return " ".join(f"{short[name]}={value_text(v)}" for name, v in parameters.items())


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Returns each dotted name's last part, or the whole name if that is not unique."""
    last = {name: name.rpartition(".")[2] for name in names}
    counts = Counter(last.values())
    return {name: part if counts[part] == 1 else name for name, part in last.items()}
