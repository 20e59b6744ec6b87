"""python -m inat_ray.simulate: what another search would have done, on recorded curves."""

import math
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inat_ray import options
from inat_ray.config.difference import check_used, differences
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import override
from inat_ray.data.progress import tracked
from inat_ray.search.schedulers import SCHEDULERS
from inat_ray.search.searchers import SEARCHERS
from inat_ray.terminal.say import note

if TYPE_CHECKING:
    from rich.table import Table

    from inat_ray.search.curves import CurveTable
    from inat_ray.search.simulate import Cluster, Outcome

METHODS = ", ".join(name for name, searcher in SEARCHERS.items() if not searcher.is_exhaustive)
STOPPING = ", ".join(SCHEDULERS)


@dataclass(frozen=True)
class Setting:
    """One line of the comparison."""

    method: str
    early_stopping: str
    reduction_factor: int
    workers: int


def main(
    tables: Annotated[
        list[Path],
        typer.Argument(metavar="TABLE...", help="Run folders of sweep, or tables of curves."),
    ],
    method: Annotated[str, typer.Option(metavar="M[,M...]", help=METHODS)] = "random,bayes",
    early_stopping: Annotated[
        str, typer.Option(metavar="E[,E...]", help=STOPPING)
    ] = "none,asha,asha_promotion",
    reduction_factor: Annotated[str, typer.Option(metavar="F[,F...]")] = "3",
    workers: Annotated[
        str, typer.Option(metavar="N[,N...]", help="Trials that run at the same time.")
    ] = "1,8",
    trials: Annotated[
        int | None, typer.Option(metavar="N", help="Budget; as many as were recorded if not given.")
    ] = None,
    within: Annotated[
        float, typer.Option(metavar="W", help="How near to the record's best is near enough.")
    ] = 0.01,
    startup: Annotated[
        float, typer.Option(metavar="S", help="Seconds before the first epoch of a trial.")
    ] = 0.0,
    failures: Annotated[
        float, typer.Option(metavar="P", help="Probability that an epoch's process dies.")
    ] = 0.0,
    seeds: Annotated[int, typer.Option(metavar="N", help="Repetitions of each.")] = 20,
    settings: options.Set = None,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the curves into one Parquet file, and end."),
    ] = None,
    note: Annotated[
        str, typer.Option(metavar="TEXT", help="What --save is to keep of it: the machine, say.")
    ] = "",
    as_json: options.AsJson = False,
) -> None:
    """Compare searchers, schedulers and numbers of workers on the curves of a sweep.

    Nothing is trained: the search itself runs, in virtual time.

    Example: inat-ray simulate runs/mine --workers 1,4,16 --early-stopping none,asha
    """
    lines = [
        Setting(*each)
        for each in product(
            method.split(","),
            early_stopping.split(","),
            _numbers("--reduction-factor", reduction_factor),
            _numbers("--workers", workers),
        )
    ]
    # Imported only now: they take seconds, and a mistake in the options is answered at once.
    from inat_ray.run.curve_files import read_all_curves
    from inat_ray.search.simulate import Cluster

    curves = read_all_curves(tables)
    if curves.experiment.search.method == "ablation":
        raise UserError(
            f"{tables[0]}: is an ablation's record: single changes of one experiment, which say"
            " nothing of a search over all of them; a record of random, bayes or grid is needed"
        )
    if save is not None:
        _save(curves, save, tables=tables, note=note)
        return
    base = override(curves.experiment, settings=settings or [], options={})
    changes = differences(curves.experiment, base)
    check_used(changes, used=("search.", "recipe.epochs"), by="a simulation")
    budget = trials or len(curves.configurations)
    searches = {
        line: (
            _experiment(base, line, trials=budget),
            Cluster(line.workers, startup_seconds=startup, failure_rate=failures),
        )
        for line in lines
    }
    found = _simulated(searches, curves, seeds=range(seeds), within=within)
    rows = [_row(line, outcomes) for line, outcomes in found.items()]
    options.console().print(_table(rows, within=within))
    if as_json:
        options.print_json({"tables": [str(table) for table in tables], "lines": rows})


def _simulated(
    searches: "dict[Setting, tuple[Experiment, Cluster]]",
    curves: "CurveTable",
    *,
    seeds: range,
    within: float,
) -> "dict[Setting, list[Outcome]]":
    """Runs each line's search once for each seed."""
    from inat_ray.search.simulate import simulated

    if not curves.is_complete:
        note(
            options.console(),
            "the record has not every point of the space: the nearest stands in for one that is"
            " missing, and a curve that was cut short ends there",
        )
    limited = any(experiment.search.limits for experiment, _ in searches.values())
    if limited and all(curves.size(curve.parameters) is None for curve in curves.curves):
        note(
            options.console(),
            "search.limits: is left out: the record, of an earlier version, does not tell the"
            " sizes of its networks",
        )
    found: dict[Setting, list[Outcome]] = {line: [] for line in searches}
    runs = list(product(searches, seeds))
    told = tracked(runs, "simulating", total=len(runs), unit="searches", console=options.console())
    for line, seed in told:
        experiment, cluster = searches[line]
        seeded = experiment.model_copy(update={"seed": seed})
        found[line].append(simulated(seeded, curves, cluster, within=within))
    return found


def _save(curves: "CurveTable", path: Path, *, tables: list[Path], note: str) -> None:
    """Raises UserError where the file is there already, or would take another one's provenance."""
    from inat_ray.run.curve_files import provenance_of, write_curves

    if path.exists():
        raise UserError(f"--save {path}: is there already")
    for table in tables:
        if not table.is_dir():
            raise UserError(f"--save: is made from run folders; {table} is none")
    about = {"note": note, "runs": [provenance_of(table) for table in tables]}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_curves(curves, path, provenance=about)
    epochs = sum(curve.epochs for curve in curves.curves)
    text = f"{len(curves.curves)} curves, {epochs:,} epochs: {path}"
    options.console().print(text, soft_wrap=True)


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(
            f"{option} {text}: whole numbers, with commas between, are allowed"
        ) from None


def _experiment(base: Experiment, line: Setting, *, trials: int) -> Experiment:
    """Returns the recorded experiment with this line's search."""
    given = {
        "search.method": ("--method", line.method),
        "search.trials": ("--trials", trials),
        "search.early_stopping.kind": ("--early-stopping", line.early_stopping),
        "search.early_stopping.reduction_factor": ("--reduction-factor", line.reduction_factor),
    }
    return override(base, settings=[], options=given)


def _row(line: Setting, outcomes: "list[Outcome]") -> dict[str, Any]:
    """Returns medians over the seeds; those of what it took to get near the best over the seeds
    that got there."""
    reached = [o for o in outcomes if o.epochs_to_good is not None]
    return asdict(line) | {
        "n": len(outcomes),
        "best": _median(o.best for o in outcomes if math.isfinite(o.best)),
        "epochs": _median(o.epochs for o in outcomes),
        "seconds": _median(o.seconds for o in outcomes),
        "reached": len(reached),
        "epochs_to_good": _median(o.epochs_to_good for o in reached),
        "seconds_to_good": _median(o.seconds_to_good for o in reached),
    }


def _median(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return statistics.median(found) if found else None


def _table(rows: list[dict[str, Any]], *, within: float) -> "Table":
    from inat_ray.terminal.tables import numbers, plain_table

    table = plain_table(
        *("search", "factor", "workers"),
        *map(numbers, ("best", "epochs", "good", "epochs to", "hours to")),
        title=f"medians; good: within {within:g} of the record's best after the last epoch",
        gap=0,  # 80 columns are all that there are
    )
    for row in rows:
        seconds = row["seconds_to_good"]
        table.add_row(
            f"{row['method']} {row['early_stopping']}",
            str(row["reduction_factor"]),
            str(row["workers"]),
            _cell(row["best"], ".4f"),
            f"{row['epochs']:,.0f}",
            f"{row['reached']}/{row['n']}",
            _cell(row["epochs_to_good"], ",.0f"),
            _cell(seconds and seconds / 3600, ".2f"),
        )
    return table


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


if __name__ == "__main__":
    options.run(main)
