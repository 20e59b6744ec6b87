"""What the decisions of a large search cost: 10,000 simulated trials on 1,000 workers.

    python -m tests.benchmarks.scale --out runs/scale.json

The space is that of experiments/cnn_bayes.yaml; curves are drawn by a formula, so no training is
part of any figure. Three questions, each with figures: seconds and memory of a whole search; a
suggestion and a decision as the log grows; and what TPE loses by being told of the best and
the newest trials alone.
"""

import json
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from inat_ray.config.load import override
from inat_ray.log.history import History
from inat_ray.log.records import AnyRecord, TrialEnded, TrialStarted
from inat_ray.search import observations
from inat_ray.search.agenda import search_agenda
from inat_ray.search.simulate import Cluster, Simulation
from inat_ray.search.stopping import state_after_epoch
from tests.benchmarks.tables import Formula, World

SEARCHES = (("random", "asha"), ("bayes", "asha"), ("bayes", "asha_promotion"), ("bayes", "median"))
LOG_SIZES = (300, 1_000, 3_000, 10_000)
CAPS = (50, 100, 200, 500, 2_000)
REPEATS = 20


def main(
    trials: int = 10_000,
    workers: int = 1_000,
    seeds: Annotated[int, typer.Option(help="Of the searches that show what a cap costs.")] = 20,
    out: Path | None = None,
) -> None:
    console = Console(stderr=True)
    sized = partial(whole_search, trials=trials, workers=workers)
    with ProcessPoolExecutor(1, max_tasks_per_child=1) as alone:  # so that memory is its own
        searches = [alone.submit(sized, *search).result() for search in SEARCHES]
    console.print(table_of(f"{trials:,} trials on {workers:,} workers", searches))
    growth = list(costs_as_the_log_grows(trials))
    console.print(table_of("milliseconds for one, as the log grows (bayes, asha)", growth))
    caps = [cost_of_a_cap(cap, seeds=seeds) for cap in CAPS]
    console.print(
        table_of("TPE told of the best and the newest trials alone: 2,000 trials, 8 workers", caps)
    )
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        found = {"searches": searches, "growth": growth, "caps": caps}
        out.write_text(json.dumps(found, indent=1) + "\n")


def simulation_of(
    method: str, kind: str, *, trials: int, workers: int, world: World, seed: int = 0
) -> Simulation:
    rungs = "min_epochs: 1, reduction_factor: 3" if kind != "median" else ""
    given = [
        f"search.method={method}",
        f"search.trials={trials}",
        f"search.early_stopping={{kind: {kind}, {rungs}}}",
        f"seed={seed}",
    ]
    experiment = override(world.experiment, settings=given, options={})
    # Trained anew whenever it is asked for: what a world keeps of it is no memory of the search's.
    return Simulation(experiment, world.space, world.trained, Cluster(workers=workers))


def whole_search(method: str, kind: str, *, trials: int, workers: int) -> dict[str, Any]:
    world = Formula.world(0)
    simulation = simulation_of(method, kind, trials=trials, workers=workers, world=world)
    begin, before = time.perf_counter(), peak_memory()
    history = simulation.run()
    return {
        "search": f"{method} {kind}",
        "seconds": time.perf_counter() - begin,
        "memory_mb": peak_memory() - before,
        "trials": len(history.searched),
        "epochs": history.epochs_spent,
        "finished": sum(trial.state == "finished" for trial in history.searched),
    }


def peak_memory() -> float:
    """Of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def costs_as_the_log_grows(trials: int) -> Iterator[dict[str, Any]]:
    """Suggestion, decision and replay, timed on one search at several sizes of its log."""
    simulation = simulation_of(
        "bayes", "asha", trials=2 * trials, workers=100, world=Formula.world(0)
    )
    agenda = search_agenda(simulation.experiment, simulation.space)
    history, epochs = simulation.history, simulation.epochs()
    for size in [size for size in LOG_SIZES if size <= trials]:
        while len(history.searched) < size:
            next(epochs)
        records = list(records_of(history))
        yield {
            "trials": size,
            "records": len(records),
            "suggestion_ms": milliseconds(partial(agenda, history)),
            "decision_ms": milliseconds(decision(simulation)),
            "replay_of_the_log_ms": milliseconds(partial(History.of, records)),
        }


def decision(simulation: Simulation) -> Callable[[], Any]:
    """What early stopping makes of the trial that was judged last, at a rung."""
    history, search = simulation.history, simulation.experiment.search
    judged = next(t for t in reversed(history.searched) if t.state == "stopped")
    return partial(state_after_epoch, search, history, judged.trial_id)


def records_of(history: History) -> Iterator[AnyRecord]:
    """The history's trials again, as a log would have them."""
    yield history.run
    for trial in history.searched:
        yield TrialStarted(
            trial_id=trial.trial_id,
            purpose=trial.purpose,
            seed=trial.seed,
            parameters=trial.parameters,
            epochs=trial.planned_epochs,
        )
        yield from trial.epochs
        if trial.state != "running":
            yield TrialEnded(trial_id=trial.trial_id, state=trial.state)


def milliseconds(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000


def cost_of_a_cap(cap: int, *, seeds: int) -> dict[str, Any]:
    """How far from the best accuracy a search of 2,000 trials on 8 workers ends."""
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(partial(capped_search, cap), range(seeds)))
    lost, seconds = zip(*found, strict=True)
    low, middle, high = np.quantile(lost, [0.25, 0.5, 0.75])
    return {
        "most_told": cap,
        "points_from_the_best": 100 * middle,
        "quartiles": f"{100 * low:.2f} - {100 * high:.2f}",
        "seconds": statistics.median(seconds),
        "n": seeds,
    }


def capped_search(cap: int, seed: int) -> tuple[float, float]:
    world = Formula.world(seed)
    simulation = simulation_of("bayes", "asha", trials=2_000, workers=8, world=world, seed=seed)
    begin = time.perf_counter()
    with mock.patch.object(observations, "MAX_OBSERVATIONS", cap):
        history = simulation.run()
    best = max(world.truth(t.parameters) for t in history.searched if t.state == "finished")
    return world.best - best, time.perf_counter() - begin


def table_of(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(text(value) for value in row.values()))
    return table


def text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if math.isfinite(value) else "-"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    sys.exit(typer.run(main))
