"""What a command prints before its work and after it."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.model import FreezableConfig
from inat_ray.data.dataset import DataSet
from inat_ray.data.names import listed, shown_name
from inat_ray.data.pack import Pack
from inat_ray.data.walk import told
from inat_ray.log.run_log import read_history
from inat_ray.run.code import kept_code
from inat_ray.run.folder import RunFolder
from inat_ray.run.result import Result
from inat_ray.run.warm_start import WarmStart
from inat_ray.search.study import seed_is_searched
from inat_ray.search.winner import confirmed
from inat_ray.terminal.model_tables import freeze_table, result_table, size_text
from inat_ray.terminal.run_texts import resume_command
from inat_ray.terminal.say import note, say
from inat_ray.terminal.search_tables import ablation_table, leaderboard_table, study_table
from inat_ray.terminal.tables import (
    folded,
    numbers,
    parameter_columns,
    parameters_table,
    plain_table,
)
from inat_ray.terminal.words import command_text, counted, duration, parameters_text, percent

if TYPE_CHECKING:  # a training needs no Ray
    from inat_ray.tuning.dry_run import DryRun

SHOWN_NAMES = 5
SHOWN_CLASSES = 10


def announce(
    console: Console,
    *,
    data: DataSet,
    run: RunFolder | None = None,
    of_winner: DataSet | None = None,
) -> None:
    """Says how the data was read, what was left out of it, and where the run is kept.

    `of_winner`: the same data as the winner's training has them.
    """
    sizes = ", ".join(f"{len(data.subset(name))} {name}" for name in data.SUBSETS)
    say(console, "data", f"{len(data.pack.classes)} classes: {sizes} images")
    if of_winner is not None and of_winner is not data:
        train, validation = (len(of_winner.subset(name)) for name in data.SUBSETS[:2])
        say(console, "winner", f"has {train} of these to train on, {validation} to validate")
    for text in understood(data.pack):
        # A terminal gets whole words; a log file has no width.
        shown = Padding(escape(text), (0, 0, 0, 6), expand=False)
        console.print(shown, soft_wrap=not console.is_terminal)
    if data.pack.rebuilt is not None:
        note(console, f"{data.pack.rebuilt}; it was built again")
    bad = [f"{shown_name(image.name)} ({image.reason})" for image in data.pack.quarantined]
    note_some(console, bad, what="images left out, because they cannot be read")
    note_some(console, data.split.duplicates, what="images in two places, kept on one side")
    if run is not None:
        say(console, "run", run.path)
        if run.storage is not None:
            say(console, "kept", run.storage)


def understood(pack: Pack) -> Iterator[str]:
    """Yields the classes by name and size, the folders of the parts, and what was ignored."""
    counts = np.bincount(pack.labels, minlength=len(pack.classes))
    fewest, most = counts.argmin(), counts.argmax()
    yield f"classes: {listed(pack.classes, most=SHOWN_CLASSES)}"
    yield (
        f"images a class: {counts[fewest]:,} ({shown_name(pack.classes[fewest])})"
        f" to {counts[most]:,} ({shown_name(pack.classes[most])})"
        if counts[fewest] < counts[most]
        else f"images a class: {counts[most]:,}"
    )
    if pack.parts:
        yield "folders: " + ", ".join(f"{role} {place}" for role, place in pack.parts.items())
    if pack.passed_over:
        yield f"ignored: {told(pack.passed_over)}"


def announce_training(console: Console, experiment: Experiment, data: DataSet) -> None:
    """Says what part of a frozen model trains, and how many workers share the work."""
    if isinstance(experiment.model, FreezableConfig):
        console.print(freeze_table(experiment, data.split, classes=len(data.classes)))
    workers, recipe = experiment.resources.workers_per_trial, experiment.recipe
    if workers > 1:
        share = f"{workers} workers share each batch of {recipe.batch_size} images"
        say(console, "work", f"{share}; learning rate {recipe.lr:g}")


def announce_warm_start(console: Console, known: Sequence[WarmStart]) -> None:
    """Says which trials of other runs the searcher is told of, and why not the rest."""
    if not known:
        note(console, "--warm-start auto: there is no run beside this one")
        return
    table = plain_table(folded("known from"), numbers("trials"), folded("what to know of it"))
    for source in known:
        trials = f"{len(source.trials)}/{source.searched}" if source.searched else "-"
        table.add_row(escape(str(source.path)), trials, escape("; ".join(source.notes)))
    console.print(table)


def announce_dry_run(console: Console, found: "DryRun", *, slots: int) -> None:
    """Says the first points, the largest model and its step, and how long the search would take."""
    points = [work.parameters for work in found.suggestions]
    columns = {"first trials": [work.trial_id for work in found.suggestions]}
    parameters = parameter_columns(points, list(dict.fromkeys(chain.from_iterable(points))))
    console.print(parameters_table(columns, parameters=parameters, width=console.width))
    size, step = found.complexity, found.rehearsal
    memory = "" if step.peak_bytes is None else f", {step.peak_bytes / 2**30:.1f} GiB of GPU memory"
    sizes = " and ".join(map(str, found.image_sizes))
    say(console, "images", f"{sizes} pixels a side, from squares of {found.pack_size}")
    say(console, "largest", parameters_text(found.largest))
    cost = f"a step of {step.images} images takes {step.seconds:.3g} s{memory}"
    network = size_text(size.parameters, size.macs, trained=size.trainable_parameters)
    say(console, "its cost", f"{network}; {cost}")
    pace = f"about {duration(found.seconds)} for {found.trials} trials, {slots} at a time"
    say(console, "time", f"{pace}, without the start and the winner")
    if found.beyond:
        share = f"about {percent(found.beyond)} of the points are beyond them"
        say(console, "limits", f"{share}, and are not trained")


def show_result(console: Console, *, run: RunFolder, result: Result) -> None:
    """Prints the best trials of a run that is finished, its result, and where its report is."""
    history = read_history(run.log)
    if len(history.searched) > 1:
        console.print(leaderboard_table(history, width=console.width))
    if history.run.method == "ablation":
        console.print(ablation_table(history))
    elif seed_is_searched(history):
        rows = result["search"]["study"]
        trained = {row["trials"][0]: row["trainable_parameters"] for row in rows}
        console.print(study_table(history, width=console.width, trainable=trained))
    if confirmed(history):
        console.print(study_table(history, purpose="confirm", width=console.width))
    console.print(result_table(result, history))
    if not history.is_training:  # before the page is drawn, which takes seconds
        console.print(f"Report:      [bold]{escape(str(run.report))}[/]", soft_wrap=True)


def show_next_steps(console: Console, *, run: RunFolder) -> None:
    """Prints the commands that look further into a run that is finished."""
    board = shlex.join(["tensorboard", "--logdir", str(run.tensorboard)])
    code = _code_option(run)
    evaluate = command_text("evaluate", run.path, *code)
    console.print(f"TensorBoard: [bold]{escape(board)}[/]", soft_wrap=True)
    console.print(f"Evaluate:    [bold]{escape(evaluate)}[/]", soft_wrap=True)
    if not run.report.exists():  # that of a training is not drawn by itself
        report = command_text("report", run.path, *code)
        console.print(f"Report:      [bold]{escape(report)}[/]", soft_wrap=True)


@contextmanager
def interruption_announced(console: Console, *, run: RunFolder) -> Iterator[None]:
    """Says what is kept if Ctrl-C ends the context, and raises the interruption again."""
    try:
        yield
    except KeyboardInterrupt:
        with suppress(UserError):  # without a readable log there is nothing to say
            _say_what_is_kept(console, run)
        raise


def _say_what_is_kept(console: Console, run: RunFolder) -> None:
    history = read_history(run.log)
    epochs, trials = counted(history.epochs_trained, "epoch"), len(history.trials)
    console.print(
        f"interrupted: {epochs} of {counted(trials, 'trial')}"
        f" ({history.trials_over} ended) are kept in {escape(str(run.path))}\n"
        f"resume with: [bold]{escape(resume_command(history, run.path, *_code_option(run)))}[/]",
        soft_wrap=True,
    )


def _code_option(run: RunFolder) -> list[str]:
    """Returns the option that names the code of the run's own network, if it has one."""
    file = kept_code(run)
    return [] if file is None else ["--code", str(file)]


def note_some(console: Console, names: Sequence[str], *, what: str) -> None:
    if names:
        hidden = len(names) - SHOWN_NAMES
        more = f" and {hidden} more" if hidden > 0 else ""
        note(console, f"{len(names)} {what}: {'; '.join(names[:SHOWN_NAMES])}{more}")
