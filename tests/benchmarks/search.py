"""Searchers and schedulers against each other on recorded curves, in virtual time.

What is counted: epochs of all trials until a configuration whose final validation accuracy is
within a point of the table's best has been trained to its last epoch. 8 workers; every strategy
has the same curves and the same seconds of an epoch. Where a strategy never gets there, the epochs
of training everything count.

    python tests/benchmarks/search.py TABLE --seeds 100 --out runs/search.json
"""

import argparse
import heapq
import json
import statistics
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from inat_ray.config.distributions import canonical
from inat_ray.config.experiment import Experiment
from inat_ray.search.curves import CurveTable, read_curves
from inat_ray.search.history import History
from inat_ray.search.simulate import Cluster, Simulation

WORKERS = 8
WITHIN = 0.01
METRIC = "val_accuracy"
FACTOR = 3


class Strategy(Protocol):
    """Another tool's searcher and scheduler, asked and told by `epochs_of_strategy`."""

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """(handle, parameters) of a new trial."""
        ...

    def tell(self, trial: Any, epoch: int, value: float, *, last: bool) -> bool:
        """Takes in an epoch; whether the trial goes on."""
        ...


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
            "target": 1.0,  # never reached: `found` ends the search
            "early_stopping": table.experiment.search.early_stopping.model_copy(
                update={"kind": kind, "min_epochs": 1, "reduction_factor": FACTOR}
            ),
        }
    )
    experiment: Experiment = table.experiment.model_copy(update={"search": search, "seed": seed})
    good = good_points(table)

    def found(history: History) -> bool:
        newest = history.trials[simulation.newest]
        return newest.state == "finished" and canonical(newest.parameters) in good

    simulation = Simulation(experiment, table.space, table, Cluster(workers=WORKERS))
    history = simulation.run(until=found)
    return everything if history.ended else history.epochs_spent


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


class Optuna:
    """Optuna's sampler with a pruner, by its ask-and-tell interface."""

    def __init__(self, table: CurveTable, seed: int, *, sampler: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.pruned = optuna.trial.TrialState.PRUNED
        samplers = {
            "tpe": lambda: optuna.samplers.TPESampler(seed=seed, constant_liar=True),
            "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        }
        pruner = (
            optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=FACTOR)
            if sampler == "tpe"
            else optuna.pruners.NopPruner()
        )
        self.study = optuna.create_study(
            sampler=samplers[sampler](), pruner=pruner, direction="maximize"
        )
        self.choices = choices(table)

    def ask(self) -> tuple[Any, dict[str, Any]]:
        trial = self.study.ask()
        texts = {name: trial.suggest_categorical(name, v) for name, v in self.choices.items()}
        return trial, {name: json.loads(text) for name, text in texts.items()}

    def tell(self, trial: Any, epoch: int, value: float, *, last: bool) -> bool:
        trial.report(value, epoch)
        if last:
            self.study.tell(trial, value)
        elif trial.should_prune():
            self.study.tell(trial, state=self.pruned)
            return False
        return True


class StockRay:
    """Ray's HyperOptSearch and AsyncHyperBandScheduler, driven without Ray's processes."""

    def __init__(self, table: CurveTable, seed: int) -> None:
        from ray import tune
        from ray.tune.schedulers import AsyncHyperBandScheduler
        from ray.tune.search.hyperopt import HyperOptSearch

        np.random.seed(seed)  # brackets are drawn from the global generator
        space = {name: tune.choice(texts) for name, texts in choices(table).items()}
        self.searcher = HyperOptSearch(space, metric=METRIC, mode="max", random_state_seed=seed)
        self.scheduler = AsyncHyperBandScheduler(
            metric=METRIC,
            mode="max",
            max_t=max(c.epochs for c in table.curves),
            grace_period=1,
            reduction_factor=FACTOR,
        )
        self.number = 0

    def ask(self) -> tuple[Any, dict[str, Any]]:
        self.number += 1
        trial = _TuneTrial(f"t{self.number}")
        texts = self.searcher.suggest(trial.trial_id)
        self.scheduler.on_trial_add(None, trial)
        return trial, {name: json.loads(text) for name, text in texts.items()}

    def tell(self, trial: Any, epoch: int, value: float, *, last: bool) -> bool:
        result = {"training_iteration": epoch, METRIC: value}
        goes_on = not last
        if last:
            self.scheduler.on_trial_complete(None, trial, result)
        else:
            goes_on = self.scheduler.on_trial_result(None, trial, result) == "CONTINUE"
        if not goes_on:
            self.searcher.on_trial_complete(trial.trial_id, result=result)
        return goes_on


@dataclass(eq=False)
class _TuneTrial:
    """As much of Tune's trial as its scheduler looks at."""

    trial_id: str


def choices(table: CurveTable) -> dict[str, list[str]]:
    """Each parameter's values as text, which every tool takes as categories."""
    return {
        name: [json.dumps(p.at(place)) for place in range(p.size or 0)]
        for name, p in table.space.parameters.items()
    }


STRATEGIES: dict[str, Callable[[str, int], int]] = {
    "random": partial(epochs_of_ours, method="random", kind="none"),
    "random + ASHA stopping": partial(epochs_of_ours, method="random", kind="asha"),
    "random + ASHA promotion": partial(epochs_of_ours, method="random", kind="asha_promotion"),
    "TPE": partial(epochs_of_ours, method="bayes", kind="none"),
    "TPE + ASHA stopping": partial(epochs_of_ours, method="bayes", kind="asha"),
    "TPE + ASHA promotion": partial(epochs_of_ours, method="bayes", kind="asha_promotion"),
    "Ray: HyperOptSearch + AsyncHyperBand": partial(epochs_of_strategy, make=StockRay),
    "Optuna: TPE + successive halving": partial(
        epochs_of_strategy, make=partial(Optuna, sampler="tpe")
    ),
    "Optuna: random": partial(epochs_of_strategy, make=partial(Optuna, sampler="random")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", help="strategies whose name has this in it")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    table = table_at(options.table)
    found: dict[str, list[int]] = {}
    with ProcessPoolExecutor(options.processes) as pool:
        for name, run in STRATEGIES.items():
            if options.only in name:
                seeds = range(options.seeds)
                found[name] = list(pool.map(run, [options.table] * len(seeds), seeds))
                print(f"{name}: median {statistics.median(found[name]):,.0f}", file=sys.stderr)
    good, everything = len(good_points(table)), sum(c.epochs for c in table.configurations)
    Console(stderr=True).print(comparison(found, good=good, everything=everything))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        result = {"workers": WORKERS, "good": good, "everything": everything, "epochs": found}
        options.out.write_text(json.dumps(result) + "\n")


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


if __name__ == "__main__":
    main()
