"""Searchers and schedulers against each other on recorded curves, in virtual time.

    python -m tests.benchmarks.search --seeds 100 --out runs/search.json --plot search.svg

What is counted: epochs of all trials until a configuration whose final validation accuracy is
within a point of the table's best has been trained to its last epoch. 8 workers; every strategy
has the same curves and the same seconds of an epoch. Where a strategy never gets there, the epochs
of training everything count. Needs the extra `benchmark`.
"""

import heapq
import statistics
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from inat_ray.config.distributions import canonical
from inat_ray.config.experiment import Experiment
from inat_ray.run.curve_files import read_curves
from inat_ray.search.curves import CurveTable
from inat_ray.search.simulate import Cluster, Simulation
from tests.benchmarks.comparison import Part
from tests.benchmarks.rivals import FACTOR, METRIC, Optuna, StockRay, Strategy

TABLE = Path("experiments/tables/flowers_32px.parquet")
WORKERS = 8
WITHIN = 0.01
STOCK_RAY = "Ray: HyperOptSearch + AsyncHyperBand"

Found = dict[str, list[int]]
"""Strategy -> epochs, by seed."""


@cache
def table_at(path: str) -> CurveTable:
    return read_curves(Path(path))


def good_points(table: CurveTable) -> set[str]:
    """Configurations whose accuracy after the last epoch is within a point of the best."""
    final = {canonical(dict(c.parameters)): c.metrics[METRIC][-1] for c in table.configurations}
    best = max(final.values())
    return {name for name, value in final.items() if value >= best - WITHIN}


def epochs_of_ours(path: str, seed: int, *, method: str, kind: str) -> int:
    table = table_at(path)
    everything = sum(curve.epochs for curve in table.configurations)
    search = table.experiment.search.model_copy(
        update={
            "method": method,
            "trials": len(table.configurations),
            "target": 1.0,  # never reached: a good point ends the search
            "early_stopping": table.experiment.search.early_stopping.model_copy(
                update={"kind": kind, "min_epochs": 1, "reduction_factor": FACTOR}
            ),
        }
    )
    experiment: Experiment = table.experiment.model_copy(update={"search": search, "seed": seed})
    good = good_points(table)

    simulation = Simulation(experiment, table.space, table.curve, Cluster(workers=WORKERS))
    for trial in simulation.epochs():
        if trial.state == "finished" and canonical(trial.parameters) in good:
            return simulation.history.epochs_spent
    return everything


def epochs_of_strategy(path: str, seed: int, *, make: Callable[[CurveTable, int], Strategy]) -> int:
    """The same loop for a tool that is asked and told."""
    table = table_at(path)
    strategy, good = make(table, seed), good_points(table)
    everything = sum(curve.epochs for curve in table.configurations)
    events: list[tuple[float, int, Any, Mapping[str, Any], int]] = []
    planned = spent = 0

    def plan(clock: float, handle: Any, parameters: Mapping[str, Any], epoch: int) -> None:
        nonlocal planned
        planned += 1
        seconds = table.curve(parameters).seconds[epoch - 1]
        heapq.heappush(events, (clock + seconds, planned, handle, parameters, epoch))

    for _ in range(WORKERS):
        plan(0.0, *strategy.ask(), 1)
    while spent < everything:
        clock, _, handle, parameters, epoch = heapq.heappop(events)
        curve = table.curve(parameters)
        spent += 1
        last = epoch == curve.epochs
        goes_on = strategy.tell(handle, epoch, curve.metrics[METRIC][epoch - 1], last=last)
        if last and canonical(dict(parameters)) in good:
            return spent
        if last or not goes_on:
            plan(clock, *strategy.ask(), 1)
        else:
            plan(clock, handle, parameters, epoch + 1)
    return everything


STRATEGIES: dict[str, Callable[[str, int], int]] = {
    "random": partial(epochs_of_ours, method="random", kind="none"),
    "random + ASHA stopping": partial(epochs_of_ours, method="random", kind="asha"),
    "random + ASHA promotion": partial(epochs_of_ours, method="random", kind="asha_promotion"),
    "TPE": partial(epochs_of_ours, method="bayes", kind="none"),
    "TPE + ASHA stopping": partial(epochs_of_ours, method="bayes", kind="asha"),
    "TPE + ASHA promotion": partial(epochs_of_ours, method="bayes", kind="asha_promotion"),
    STOCK_RAY: partial(epochs_of_strategy, make=StockRay),
    "Optuna: TPE + successive halving": partial(
        epochs_of_strategy, make=partial(Optuna, sampler="tpe")
    ),
    "Optuna: random": partial(epochs_of_strategy, make=partial(Optuna, sampler="random")),
}


def main(
    table: Annotated[Path, typer.Option(help="Recorded curves.")] = TABLE,
    seeds: int = 20,
    processes: int = 2,
    only: Annotated[str, typer.Option(help="Strategies whose name has this in it.")] = "",
    out: Path | None = None,
    plot: Annotated[Path | None, typer.Option(help="A picture of it: .svg or .png.")] = None,
) -> None:
    console, record = Console(stderr=True), table_at(str(table))
    found: Found = {}
    with ProcessPoolExecutor(processes) as pool:
        for name, run in STRATEGIES.items():
            if only in name:
                found[name] = list(pool.map(run, [str(table)] * seeds, range(seeds)))
                console.print(f"{name}: median {statistics.median(found[name]):,.0f}")
    good, everything = len(good_points(record)), sum(c.epochs for c in record.configurations)
    console.print(comparison(found, good=good, everything=everything))
    part = Part("search")
    for name, epochs in found.items():
        part.add(name, epochs, unit="epochs")
    part.tell(out)
    if plot:
        draw(found, everything=everything, path=plot)


def comparison(found: Mapping[str, list[int]], *, good: int, everything: int) -> Table:
    """Median and quartiles, and the share of random search's median."""
    title = f"epochs until one of the {good} best is trained; all would be {everything:,}"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for column in ("strategy", "median", "quartiles", "n", "of random's"):
        table.add_column(column, justify="left" if column == "strategy" else "right")
    base = statistics.median(found["random"]) if "random" in found else float("nan")
    for name, epochs in found.items():
        low, middle, high = np.quantile(epochs, [0.25, 0.5, 0.75])
        quartiles = f"{low:,.0f} - {high:,.0f}"
        share = f"{middle / base:.2f}"
        table.add_row(name, f"{middle:,.0f}", quartiles, str(len(epochs)), share)
    return table


def draw(found: Found, *, everything: int, path: Path) -> None:
    """For each strategy the share of seeds that have got there, by epochs spent."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 5), layout="constrained")
    for name, epochs in found.items():
        style = "--" if ":" in name else "-"  # others' tools are dashed
        steps = np.sort([e for e in epochs if e < everything])
        shares = np.arange(len(steps) + 1) / len(epochs)
        # Those that never got there are no step: the line stays below 1.
        axes.stairs(shares, [0, *steps, everything], baseline=None, linestyle=style, linewidth=1.5,
                    label=f"{name} ({statistics.median(epochs):,.0f})")  # fmt: skip
    axes.set(
        xscale="log",
        xlim=(50, everything),
        ylim=(0, 1),
        xlabel="epochs spent, of all trials",
        ylabel="share of seeds with a good model trained to its end",
    )
    figure.legend(title="strategy (median)", fontsize="small", loc="outside right upper")
    axes.grid(alpha=0.3)
    figure.savefig(path)


if __name__ == "__main__":
    typer.run(main)
