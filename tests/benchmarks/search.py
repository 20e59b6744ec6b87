"""Searches side by side, ours and other tools': how good is the configuration that they hand over?

    python -m tests.benchmarks.search --tables DIR --out runs/search.json --plot runs/search.svg

Regret: how far its true mean lies from the best one's, as a share of the way from a median
configuration to the best, after so many epochs of all trials, and after the time that so many
epochs of a median configuration take. 8 workers in virtual time; every search has the same seconds
of an epoch and, with the same seed, the same trainings. `--short` is a few seconds of it. Needs the
extra `benchmark`; --tables names a folder of TaskSet's tables. Each search is written beside --out
as it ends, and one that is written there is not run again: remove that file to begin anew.
"""

import heapq
import json
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import count
from math import inf
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown
from threadpoolctl import threadpool_limits

from inat_ray.config.distributions import canonical
from inat_ray.config.experiment import Experiment
from inat_ray.config.search import MAX_TRIALS, Confirm, EarlyStopping
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import TrialEnded, TrialKnown
from inat_ray.search.agenda import Work, confirm_agenda, next_work, to_confirm
from inat_ray.search.curves import Curve
from inat_ray.search.simulate import Cluster, Simulation, epoch_of
from inat_ray.search.winner import winning_trial
from tests.benchmarks.comparison import conditions
from tests.benchmarks.rivals import (
    FACTOR,
    METRIC,
    Optuna,
    StockRay,
    Strategy,
    SyneTune,
    Trial,
    point_of,
)
from tests.benchmarks.search_page import (
    BEST_EPOCH,
    CONFIRMED,
    DEFAULT,
    OWN,
    Followed,
    draw,
    summary,
    table_of,
)
from tests.benchmarks.tables import FORMULA, Point, World, world_of

FLOWERS = Path("experiments/tables/flowers_32px.parquet")
HEADS = Path("experiments/tables/heads_128px.parquet")
PACKAGES = ["ray", "hyperopt", "optuna", "syne-tune"]
CHECKPOINTS = (75, 150, 200, 300, 400, 800)
SHORT = (20, 40)
WORKERS = 8
WITHIN = 0.01
"""For the footnote: this near to the best a configuration is good."""
Handed = dict[str, Point | None]
"""Rule of choosing -> the configuration that it hands over."""


@dataclass(frozen=True)
class Step:
    """A search after one more epoch."""

    epochs: float
    seconds: float
    finished: Point | None
    """The configuration whose last epoch it was, if it was."""
    handed_over: Callable[[], Handed]
    confirmed: Callable[[], tuple[int, Point | None]] | None = None
    """What would be handed over after a confirmation, and the epochs of the confirmation."""


Way = Callable[[World, int], Iterator[Step]]
Task = tuple[str, str, int]
"""(table, way, seed)"""


def ours(
    world: World, seed: int, *, method: str, kind: str, known: Sequence[TrialKnown] = ()
) -> Iterator[Step]:
    """`known`: trials of other runs."""
    given = world.experiment.search
    changes = {
        "method": method,
        "limits": None,
        "trials": MAX_TRIALS,
        "target": 1.0,  # never reached: the benchmark ends the search
        "confirm": Confirm(),
        "early_stopping": EarlyStopping(kind=kind, min_epochs=1, reduction_factor=FACTOR),
    }
    search = given.model_copy(update=changes)
    experiment = world.experiment.model_copy(update={"search": search, "seed": seed})
    simulation = Simulation(experiment, world.space, world.curve, Cluster(workers=WORKERS))
    history = simulation.history
    for record in known:
        history.add(record)

    def handed_over() -> Handed:
        return {OWN: point_of_trial(winning_trial(history)), BEST_EPOCH: best_epoch(history)}

    for trial in simulation.epochs():
        yield Step(
            epochs=history.epochs_spent,
            seconds=simulation.clock,
            finished=trial.parameters if trial.state == "finished" else None,
            handed_over=handed_over,
            confirmed=partial(confirmed, experiment, history, world),
        )


def point_of_trial(trial: TrialHistory | None) -> Point | None:
    return trial and trial.parameters


def best_epoch(history: History) -> Point | None:
    """As earlier versions chose: the trial with the best epoch of all."""
    scores = [(max(t.values(METRIC)), -t.number, t) for t in history.searched if t.epochs]
    return max(scores)[2].parameters if scores else None


def confirmed(experiment: Experiment, history: History, world: World) -> tuple[int, Point | None]:
    """Runs the confirmation on a copy of the history, with trainings that the search had not."""
    copy = deepcopy(history)
    agenda = confirm_agenda(experiment, to_confirm(experiment, copy))
    for take in count(1):
        work = next_work(agenda, copy, copy.add)
        if not isinstance(work, Work):
            return copy.epochs_trained - history.epochs_trained, point_of_trial(winning_trial(copy))
        copy.add(work.record())
        curve = world.curve(work.parameters, take)
        for epoch in range(curve.epochs):
            copy.add(epoch_of(curve, work.trial_id, epoch))
        copy.add(TrialEnded(time=0.0, trial_id=work.trial_id, state="finished"))
    raise AssertionError("counts without end")


def theirs(world: World, seed: int, *, make: Callable[..., Strategy]) -> Iterator[Step]:
    """The same loop for a tool that is asked and told."""
    planned_epochs = world.epochs
    strategy = make(world.space, seed, epochs=planned_epochs)
    events: list[tuple[float, int, Trial, Curve]] = []
    begun: list[Trial] = []
    takes: Counter[str] = Counter()
    order = count()

    def begin(clock: float) -> None:
        trial = strategy.ask()
        begun.append(trial)
        point = point_of(world.space, trial.config)
        name = canonical(point)
        curve = world.curve(point, takes[name])  # a point that is tried again is trained again
        takes[name] += 1
        heapq.heappush(events, (clock + curve.seconds[0], next(order), trial, curve))

    def handed_over() -> Handed:
        told = [trial for trial in begun if trial.values]
        best = {
            OWN: max(told, key=strategy.standing),
            BEST_EPOCH: max(told, key=lambda trial: max(trial.values)),
        }
        return {rule: point_of(world.space, trial.config) for rule, trial in best.items()}

    for _ in range(WORKERS):
        begin(0.0)
    for spent in count(1):
        clock, _, trial, curve = heapq.heappop(events)
        trial.values.append(curve.metrics[METRIC][len(trial.values)])
        trial.is_complete = len(trial.values) == planned_epochs
        if strategy.tell(trial, last=trial.is_complete) and not trial.is_complete:
            due = clock + curve.seconds[len(trial.values)]
            heapq.heappush(events, (due, next(order), trial, curve))
        else:
            begin(clock)
        finished = curve.parameters if trial.is_complete else None
        yield Step(epochs=spent, seconds=clock, finished=finished, handed_over=handed_over)


WAYS: dict[str, Way] = {
    "random": partial(ours, method="random", kind="none"),
    "random + ASHA promotion": partial(ours, method="random", kind="asha_promotion"),
    "TPE + ASHA stopping": partial(ours, method="bayes", kind="asha"),
    DEFAULT: partial(ours, method="bayes", kind="asha_promotion"),
    "Ray: HyperOptSearch + AsyncHyperBand": partial(theirs, make=StockRay),
    "Optuna: as it comes": partial(theirs, make=partial(Optuna, halving=False)),
    "Optuna: with successive halving": partial(theirs, make=partial(Optuna, halving=True)),
    "Syne Tune: BOHB": partial(theirs, make=partial(SyneTune, rule="BOHB")),
}


def steps(way: str, world: World, seed: int) -> Iterator[Step]:
    """Its last one stands for all to come: a search may have tried every point of the space."""
    for step in WAYS[way](world, seed):
        yield step
    yield replace(step, epochs=inf, seconds=inf, finished=None)


def followed(task: Task, *, short: bool = False) -> Followed:
    table, way, seed = task
    begin = time.process_time()
    world, due = world_of(table, seed, short=short), SHORT if short else CHECKPOINTS
    found = Followed(table, way, seed, {}, {}, confirmation=None, good=None, minutes=0.0)
    epochs = list(due)
    seconds = [each * world.seconds / WORKERS for each in due] if world.seconds else []
    for step in steps(way, world, seed):
        done = step.finished
        if found.good is None and done and world.truth(done) > world.best - WITHIN:
            found.good = int(step.epochs)
        while epochs and step.epochs >= epochs[0]:
            note(step.handed_over(), world, found.epochs)
            epochs.pop(0)
            if way == DEFAULT and step.confirmed and world.trains_again:
                found.confirmation, winner = step.confirmed()
                note({CONFIRMED: winner}, world, found.epochs)
        while seconds and step.seconds >= seconds[0]:
            note(step.handed_over(), world, found.seconds)
            seconds.pop(0)
        if not epochs and not seconds:
            break
    found.minutes = (time.process_time() - begin) / 60
    return found


def note(handed: Handed, world: World, regrets: dict[str, list[float]]) -> None:
    for rule, point in handed.items():
        regrets.setdefault(rule, []).append(round(world.regret(point), 5))


def main(
    record: Annotated[
        list[Path] | None,
        typer.Option(metavar="R", help="A run or a table of curves, besides that of flowers."),
    ] = None,
    tables: Annotated[
        Path | None, typer.Option(metavar="DIR", help="TaskSet's tables: taskset_*.parquet.")
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="Of each table; of each of TaskSet's, a quarter.")
    ] = 40,
    processes: int = 2,
    only: Annotated[str, typer.Option(help="Searches whose name has this in it.")] = "",
    short: Annotated[bool, typer.Option(help="A part of one record, to 40 epochs.")] = False,
    out: Annotated[Path | None, typer.Option(help="The figures, as JSON.")] = None,
    plot: Annotated[Path | None, typer.Option(help="A picture of it: .svg or .png.")] = None,
) -> None:
    console, begin = Console(stderr=True), time.perf_counter()
    records = [str(path) for path in (FLOWERS, *([] if short else [HEADS]), *(record or []))]
    sets = sorted(map(str, tables.glob("taskset_*.parquet"))) if tables else []
    numbers = dict.fromkeys(records if short else [*records, FORMULA], seeds)
    numbers |= dict.fromkeys(sets, -(-seeds // 4))
    tasks = in_turns(numbers, [way for way in WAYS if only in way])
    ended = out and out.with_suffix(".jsonl")
    runs = [run for run in read(ended) if task_of(run) in tasks]
    left = [task for task in tasks if task not in {*map(task_of, runs)}]
    for table in records:
        world_of(table, 0, short=short)  # its processes are fitted once, before this one forks
    with ProcessPoolExecutor(processes, initializer=quiet) as pool:
        for run in pool.map(partial(followed, short=short), left):
            runs.append(run)
            if ended:
                with ended.open("a") as file:
                    file.write(json.dumps(asdict(run)) + "\n")
            if len(runs) % (len(tasks) // 10 or 1) == 0:
                minutes = (time.perf_counter() - begin) / 60
                console.print(f"{len(runs)} of {len(tasks)} searches after {minutes:.1f} minutes")
    tree = summary(runs, checkpoints=SHORT if short else CHECKPOINTS)
    found = conditions([name for name in PACKAGES if find_spec(name.replace("-", "_"))])
    tree |= {"processor_minutes": round(sum(run.minutes for run in runs), 1), "conditions": found}
    for title in tree["tables"]:
        console.print(Markdown("\n".join(table_of(tree, title))))
    if out:
        out.write_text(json.dumps(tree) + "\n")
    if plot:
        draw(tree, plot)


def in_turns(numbers: dict[str, int], ways: list[str]) -> list[Task]:
    """All searches, those of one table and seed together, and the tables in turn."""
    turns = [(seed / number, t, seed) for t, number in numbers.items() for seed in range(number)]
    return [(table, way, seed) for _, table, seed in sorted(turns) for way in ways]


def task_of(run: Followed) -> Task:
    return run.table, run.way, run.seed


def read(path: Path | None) -> list[Followed]:
    """The searches in this file; makes its folder."""
    if path is None:
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().splitlines() if path.exists() else []
    return [Followed(**json.loads(line)) for line in lines]


def quiet() -> None:
    """A thread for each process; what other tools' libraries warn of is not for who runs this."""
    threadpool_limits(1)
    warnings.simplefilter("ignore")


if __name__ == "__main__":
    typer.run(main)
