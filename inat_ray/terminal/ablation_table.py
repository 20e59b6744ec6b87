"""An ablation as a table: what each change does to the experiment, with its standard error."""

import math

from rich import box
from rich.table import Table

from inat_ray.log.history import History
from inat_ray.search.study import (
    Configuration,
    changes,
    configurations,
    paired_difference,
    unchanged,
)
from inat_ray.terminal.leaderboard import LABELS, parameters_text
from inat_ray.terminal.study_table import spread_text

AS_IT_IS = "nothing"


def ablation_table(history: History) -> Table:
    """A row a change, the best first, and the experiment as it is among them.

    The difference is over the seeds that both have: the same seed brings the same initial
    weights, order and crops wherever the change leaves them alone.
    """
    metric, ranking = history.run.metric, configurations(history)
    base = unchanged(ranking, history)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.title, table.title_justify = f"{history.run.name}: one change at a time", "left"
    for title in ("n", f"{LABELS[metric]}, mean ± sd", "difference ± se", "s/epoch"):
        table.add_column(title, no_wrap=True)
    table.add_column("what is changed")
    for configuration in ranking:
        table.add_row(
            str(configuration.n),
            spread_text(configuration, metric),
            "" if base is None else difference_text(configuration, base, metric=metric),
            f"{configuration.seconds_per_epoch:.2f}",
            change_text(configuration, base),
            style="bold" if configuration is base else None,
        )
    return table


def change_text(configuration: Configuration, base: Configuration | None) -> str:
    """What differs from the experiment: `schedule=cosine`."""
    return parameters_text(changes(configuration, base)) or AS_IT_IS


def difference_text(configuration: Configuration, base: Configuration, *, metric: str) -> str:
    """'-1.3 ± 0.4', in points of an accuracy; empty for the experiment itself."""
    found = paired_difference(configuration, base)
    if configuration is base or found is None:
        return ""
    mean, error = found
    scale, digits = (100, 1) if metric.endswith("accuracy") else (1, 4)
    text = f"{scale * mean:+.{digits}f}"
    return text if math.isnan(error) else f"{text} ± {scale * error:.{digits}f}"
