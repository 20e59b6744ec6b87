"""What a search gains from another run's trials, and what it loses by those of one that misleads.

    python -m tests.benchmarks.warm_start --tables ../shared/data/tables --seeds 48

Regret is that of the configuration which the search would hand over, as in tests.benchmarks.search;
8 workers, TPE with promotion. A source has 60 trials, trained to their end: on the flowers another
recording of the same table, on a table of TaskSet those of the next table. Misleading sources have
the same curves, shuffled among the points, or the best one's in place of the worst one's and so on.
The last column is by how much the epochs of a search without a source are to be multiplied for the
same mean regret, by least squares over all checkpoints.
"""

import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from inat_ray.log.records import TrialKnown
from tests.benchmarks.search import ours
from tests.benchmarks.search_page import OWN
from tests.benchmarks.tables import METRIC, Array, World, random_point, world_of

FLOWERS = "experiments/tables/flowers_32px.parquet"
CHECKPOINTS = np.arange(25, 401, 25)
SHOWN = (75, 150, 300, 400)
TRIALS = 60
ELSEWHERE = 100_000
"""Added to a seed: another recording."""


def shuffled(order: Array, rng: np.random.Generator) -> Array:
    return rng.permutation(order)


def reversed_(order: Array, _: np.random.Generator) -> Array:
    return order[::-1]


Way = Callable[[Array, np.random.Generator], Array]
"""(trials of a source, best first) -> which of their curves each gets instead."""

WAYS: dict[str, list[Way]] = {
    "none": [],
    "a relative": [lambda order, _: order],
    "shuffled": [shuffled],
    "reversed": [reversed_],
    "a relative and two shuffled": [lambda order, _: order, shuffled, shuffled],
}


def main(
    tables: Annotated[Path | None, typer.Option(help="A folder with tables of TaskSet.")] = None,
    seeds: int = 24,
    only: Annotated[str, typer.Option(help="Ways whose name has this in it.")] = "",
    processes: int = 2,
) -> None:
    console = Console()
    groups = {"flowers": [FLOWERS]}
    if tables is not None:
        groups["TaskSet"] = sorted(map(str, tables.glob("taskset_*.parquet")))
    with ProcessPoolExecutor(processes) as pool:
        for name, paths in groups.items():
            found: dict[str, Array] = {}
            for way in WAYS:
                if way == "none" or only in way:
                    search = partial(regrets, paths, way)
                    found[way] = np.array(list(pool.map(search, range(seeds), chunksize=6)))
                    console.print(f"{name}: {way}", style="dim")
            console.print(comparison(name, found))


def regrets(paths: list[str], way: str, seed: int) -> list[float]:
    """The regret of one search at every checkpoint, in per cent."""
    place, told = seed % len(paths), []
    for number, change in enumerate(WAYS[way], start=1):
        elsewhere = world_of(paths[(place + number) % len(paths)], seed + number * ELSEWHERE)
        told += known(elsewhere, change, seed=[seed, number])
    world = world_of(paths[place], seed)
    found: list[float] = []
    for step in ours(world, seed, method="bayes", kind="asha_promotion", known=told):
        if step.epochs >= CHECKPOINTS[len(found)]:
            found.append(100 * world.regret(step.handed_over()[OWN]))
        if len(found) == len(CHECKPOINTS):
            break
    return found


def known(world: World, change: Way, *, seed: list[int]) -> list[TrialKnown]:
    """Trials of a source, trained to their end."""
    rng = np.random.default_rng(seed)
    points = [random_point(world.space, rng) for _ in range(TRIALS)]
    curves = [world.curve(point).metrics[METRIC] for point in points]
    order = np.argsort([-max(curve) for curve in curves])
    to = dict(zip(order, change(order, rng), strict=True))
    return [
        TrialKnown(
            source=f"{seed} {number}", parameters=p, values=curves[to[number]], state="finished"
        )
        for number, p in enumerate(points)
    ]


def comparison(name: str, found: dict[str, Array]) -> Table:
    none = found["none"]
    table = Table(title=f"{name}: regret, % (n = {len(none)})", box=box.SIMPLE_HEAD)
    for title in ("told of", *map(str, SHOWN), "less none (se)", "epochs, x (se)"):
        table.add_column(title, justify="left" if title == "told of" else "right")
    for way, each in found.items():
        at = {int(e): each[:, place].mean() for place, e in enumerate(CHECKPOINTS)}
        less = (each - none).mean(axis=1)
        table.add_row(
            way,
            *(f"{at[epoch]:.1f}" for epoch in SHOWN),
            f"{less.mean():+.1f} ({standard_error(less):.1f})",
            ""
            if way == "none"
            else f"{factor(each, none):.2f} ({error_of_factor(each, none):.2f})",
        )
    return table


def standard_error(values: Array) -> float:
    return float(statistics.stdev(values) / np.sqrt(len(values)))


def factor(one: Array, none: Array) -> float:
    """By how much the epochs of `one` are those of `none`, for the same mean regret."""
    mean, wanted = one.mean(axis=0), none.mean(axis=0)
    factors = np.geomspace(0.1, 4, 200)
    misses = []
    for each in factors:
        at = each * CHECKPOINTS
        inside = (at >= CHECKPOINTS[0]) & (at <= CHECKPOINTS[-1])
        reached = np.interp(at[inside], CHECKPOINTS, mean)
        misses.append(np.mean((reached - wanted[inside]) ** 2) if inside.sum() > 3 else np.inf)
    return float(factors[np.argmin(misses)])


def error_of_factor(one: Array, none: Array) -> float:
    """By drawing the seeds again."""
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(one), size=len(one)) for _ in range(200)]
    return float(np.std([factor(one[each], none[each]) for each in draws]))


if __name__ == "__main__":
    typer.run(main)
