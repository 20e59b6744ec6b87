"""python -m inat_ray.runs: the runs of a folder, listed, compared and cleaned up."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from inat_ray import options
from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.terminal.say import note

if TYPE_CHECKING:
    from inat_ray.log.history import History
    from inat_ray.run.cleanup import Plan

RUNS = Path("runs")


Folder = Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where runs are, or one run.")]


def main(folder: Folder = RUNS, as_json: options.AsJson = False) -> None:
    """List the runs below a folder, newest first.

    Of one run, also the trials of its search that are the best for what they cost. Two more
    commands: `compare RUN RUN...` and `clean [FOLDER]`; each has a --help of its own.

    Example: inat-ray runs runs
    """
    from inat_ray.run.contents import read_contents
    from inat_ray.run.folder import RunFolder
    from inat_ray.run.listing import find_runs, read_run
    from inat_ray.terminal.runs_table import run_row, runs_table

    one = read_contents(folder) if RunFolder(folder).holds_a_run else None
    runs = find_runs(folder) if one is None else [read_run(folder, one)]
    console = options.console()
    if runs:
        console.print(runs_table(runs, folder=folder, width=console.width))
    else:
        console.print(f"{escape(str(folder))}: holds no run", soft_wrap=True)
    for run in runs:
        if run.problem is not None:
            options.say("damaged", f"{run.path}: {run.problem}", style="yellow")
    result: dict[str, Any] = {"runs": [run_row(run) for run in runs]}
    if one is not None:
        result |= _show_fronts(folder, one.history)
    if as_json:
        options.print_json(result)


def _show_fronts(run: Path, history: "History") -> dict[str, Any]:
    """Prints the trials of a search that are the best for what they cost; returns their names."""
    from inat_ray.search.front import fronts
    from inat_ray.terminal.search_tables import front_table
    from inat_ray.terminal.words import command_text

    found = fronts(history)
    if found:
        console = options.console()
        console.print(front_table(history, found, width=console.width))
        others = (trial for _, trials in found for trial in trials if trial is not history.leader)
        if (cheapest := next(others, None)) is not None:
            command = escape(command_text("sweep", "--resume", run, "--pick", cheapest.trial_id))
            console.print(f"Keep another: [bold]{command}[/]", soft_wrap=True)
    return {"fronts": {cost.name: [trial.trial_id for trial in trials] for cost, trials in found}}


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run folders.")],
    as_json: options.AsJson = False,
) -> None:
    """Compare runs: how they ended, what they took, and the settings in which they differ.

    Example: inat-ray runs compare runs/random runs/bayes
    """
    from inat_ray.run.folder import existing_run
    from inat_ray.run.listing import read_run
    from inat_ray.terminal.runs_table import compared_settings, comparison_table, run_row

    for path in runs:
        existing_run(path)
    if len(runs) < 2:
        raise UserError(f"compare {runs[0]}: two runs at least are needed")
    found = [read_run(path) for path in runs]
    options.console().print(comparison_table(found))
    if as_json:
        settings = compared_settings(found)
        options.print_json({"runs": [run_row(run) for run in found], "settings": settings})


def clean(
    folder: Folder = RUNS,
    keep: Annotated[
        Literal["best", "all"],
        typer.Option(
            help="best: finished runs lose checkpoints and half-written files, and keep model, log,"
            " tables, results and reports. all: runs are left as they are."
        ),
    ] = "best",
    packs: Annotated[
        bool,
        typer.Option(
            "--packs",
            help="Also packs in data.cache that no run below FOLDER uses, and what killed builds"
            " left. A pack that is needed again is made again.",
        ),
    ] = False,
    older_than: Annotated[
        float | None,
        typer.Option("--older-than", metavar="DAYS", min=0, help="Only what is older than that."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it without asking.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Free disk space: shows what would be removed, and asks.

    Runs that are being written are never touched, nor are those that can be resumed, unless FOLDER
    is the run itself. Of a run that is kept in a storage too, only what is here is removed.

    Example: inat-ray runs clean --packs --older-than 30
    """
    from inat_ray.run.cleanup import Plan, megabytes, plan_for_packs, plan_for_runs
    from inat_ray.run.folder import RunFolder
    from inat_ray.run.listing import find_runs
    from inat_ray.terminal.runs_table import removals_table

    runs, now = find_runs(folder), time.time()
    plan = Plan()
    if keep == "best":
        plan += plan_for_runs(
            runs, named=RunFolder(folder).holds_a_run, older_than=older_than, now=now
        )
    if packs:
        plan += plan_for_packs(runs, older_than=older_than, now=now)
    console = options.console()
    for text in plan.notes:
        note(console, text)
    if plan.removals:
        console.print(removals_table(plan))
        console.print(f"[bold]{megabytes(plan.size)}[/] in all")
    else:
        console.print("there is nothing to remove")
    removed = _carry_out(plan, yes=yes) if plan.removals else Plan()
    if as_json:
        paths = [str(removal.path) for removal in removed.removals]
        options.print_json({"removed": paths, "bytes": removed.size})


def _carry_out(plan: "Plan", *, yes: bool) -> "Plan":
    """Removes what is planned and returns it. Raises UserError if nobody can be asked."""
    from inat_ray.run.cleanup import Plan, carry_out, megabytes

    if not yes and not sys.stdin.isatty():
        raise UserError("nothing was removed: there is no terminal to ask on; --yes removes it")
    if not yes and not typer.confirm("Remove this?", err=True):
        options.console().print("nothing was removed")
        return Plan()
    removed, problems = carry_out(plan)
    options.console().print(f"[bold]{megabytes(removed.size)}[/] freed")
    if problems:
        raise RunFailedError("not all could be removed: " + "; ".join(problems))
    return removed


ALSO: dict[str, Callable[..., None]] = {"compare": compare, "clean": clean}
"""Commands besides the one that lists."""


if __name__ == "__main__":
    options.run(main, also=ALSO)
