"""What the commands share: their options, their exit codes, their way of ending."""

import atexit
import errno
import functools
import inspect
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from inat_ray.boards import tensorboard_server
from inat_ray.config.device import DeviceName
from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.data.progress import waiting
from inat_ray.terminal.say import say as terminal_say
from inat_ray.training.interruption import as_interrupted, interruptible

STORAGE_VARIABLE = "INAT_RAY_STORAGE_PATH"

KEYS = {
    "data": "data.source",
    "seed": "seed",
    "trials": "search.trials",
    "track": "tracking.to",
    "workers": "resources.workers_per_trial",
    "gpus_per_worker": "resources.gpus_per_worker",
    "storage_path": "resources.storage_path",
}
"""The settings of an experiment that have an option of their own, by its name in Python."""

Given = dict[str, tuple[str, Any]]
"""Dotted key -> (option as a user wrote it, value)."""

FAILED, USER_MISTAKE = 1, 2
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


ExperimentFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="[EXPERIMENT]",
        help="A YAML file, or one that comes along: `inat-ray experiments` lists them.",
    ),
]
Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A best.safetensors, or the run that holds it.")
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="D",
        help="Folder of labeled photographs, or 'inaturalist-12k' (downloaded), or 'demo'"
        " (drawn by code).",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one setting of the experiment, e.g. recipe.lr=0.01; repeatable.",
    ),
]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="S", help="Seed of training and search.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="RUN", help="Run folder; runs/<name>-<time> if not given."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the run that --out holds already.")
]
OverwriteFile = Annotated[
    bool, typer.Option("--overwrite", help="Replace the file if it is there already.")
]
StoragePath = Annotated[
    str | None,
    typer.Option(
        "--storage-path",
        metavar="S",
        help="Keep the run in S/<its name> too, for other nodes and machines: s3://BUCKET/PREFIX,"
        f" gs://..., or a folder that all share; {STORAGE_VARIABLE} if not given.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="A",
        help="Join the Ray cluster at A: auto or HOST:PORT; RAY_ADDRESS if not given, else a Ray of"
        " its own.",
    ),
]
Code = Annotated[
    str | None,
    typer.Option(
        "--code",
        metavar="FILE",
        help="The code of a network of your own: a run or a model's file runs none by itself.",
    ),
]
ChangedCode = Annotated[
    bool,
    typer.Option(
        "--changed-code", help="With --code: use it though the run was made with other code."
    ),
]
Device = Annotated[
    DeviceName, typer.Option(help="What to compute on; auto: a GPU if there is one.")
]
TensorBoard = Annotated[
    bool,
    typer.Option(
        "--tensorboard",
        help="Serve TensorBoard of the run to this machine while it goes on, at port"
        f" {tensorboard_server.PORT}.",
    ),
]
TensorBoardPort = Annotated[
    int | None,
    typer.Option("--tensorboard-port", metavar="P", min=1, max=65535, help="The same at port P."),
]
Track = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="T",
        help="Tell wandb or mlflow of it too, as the experiment's `tracking` says how; repeatable.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, as the last line.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Let Ray and libraries talk.")]


def given(**options: Any) -> Given:
    """Returns those of the options in `KEYS` that were given, for `load_experiment`."""
    return {
        KEYS[name]: (f"--{name.replace('_', '-')}", value)
        for name, value in options.items()
        if value not in (None, [])
    }


def time_option(time: str | None) -> Given:
    """Returns the budget of time of a sweep, which covers all of it."""
    if time is None:
        return {}
    return {"search.time": ("--time", time), "search.time_covers": ("--time", "run")}


def storage_option(storage_path: str | None) -> Given:
    """Returns the storage of a new run, which the environment may name; a run that goes on has
    its own."""
    if storage_path is None and (path := os.environ.get(STORAGE_VARIABLE)) is not None:
        return {KEYS["storage_path"]: (STORAGE_VARIABLE, path)}
    return given(storage_path=storage_path)


def written(context: typer.Context) -> dict[str, str]:
    """Returns what the command line holds: parameter -> the option, or EXPERIMENT, as written."""
    return {
        str(parameter.name): parameter.opts[0]
        if parameter.param_type_name == "option"
        else str(parameter.name).upper()
        for parameter in context.command.params
        if (source := context.get_parameter_source(str(parameter.name)))
        and source.name == "COMMANDLINE"
    }


def refuse(context: typer.Context, parameters: Collection[str], *, beside: str) -> None:
    """Raises UserError if one of the parameters was given."""
    for parameter, option in written(context).items():
        if parameter in parameters:
            raise UserError(f"{option}: has no place beside {beside}")


def tensorboard_port(*, wanted: bool, port: int | None) -> int | None:
    """Returns the port to serve TensorBoard at, if any. Raises UserError if it is not free."""
    if port is None and wanted:
        port = tensorboard_server.PORT
    if port is not None:
        tensorboard_server.check_port(port)
    return port


def set_verbosity(*, verbose: bool) -> None:
    """Shows what libraries log from INFO on if verbose, else only their errors."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.ERROR, format="%(name)s: %(message)s"
    )


def console() -> Console:
    """Returns the console for progress and tables: stderr, as stdout is for the result alone."""
    # In a notebook as in a log file: rich's own way there needs ipywidgets.
    return Console(stderr=True, highlight=False, force_jupyter=False)


def say(word: str, text: object, *, style: str = "bold") -> None:
    """Prints a line that begins with a word."""
    terminal_say(console(), word, text, style=style)


def check_new_file(out: Path, *, suffix: str, overwrite: bool) -> None:
    """Raises UserError if --out has another suffix, or is there and not to be replaced."""
    if out.suffix != suffix:
        raise UserError(f"--out {out}: the name must end in {suffix}")
    if out.exists() and not overwrite:
        raise UserError(f"--out {out}: is there already; --overwrite replaces it")


def say_reading(command: str, what: object) -> None:
    """Says what a command begins with: its first word, before anything slow is loaded."""
    console().print(f"[dim]inat_ray {command}: reading {escape(str(what))}[/]", soft_wrap=True)


def loading(*modules: str) -> AbstractContextManager[None]:
    """Shows, while they are imported, which modules take seconds: no command begins silently."""
    missing = [module for module in modules if module not in sys.modules]
    text = f"loading {' and '.join(missing)}"
    return waiting(text, console=console()) if missing else nullcontext()


def print_json(result: dict[str, Any]) -> None:
    """Prints one line of JSON on stdout."""
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


class _First(TyperGroup):
    """Commands of which the first is called if none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first, *_ = self.commands
        named = bool(args) and args[0] in self.commands
        return super().parse_args(ctx, args if named else [first, *args])


def run(command: Callable[..., None], *, also: Mapping[str, Callable[..., None]] = {}) -> None:
    """Runs a command, or the one of those beside it that is named, and ends this process.

    The exit code is 2 for a user's mistake and 1 for a failure, each with one message, and 128 plus
    the signal's number for Ctrl-C, SIGTERM and SIGHUP. A full disk is a failure; any other error of
    the system is a bug, and shows its traceback.
    """
    run_app(app_of(command, also=also))


def app_of(
    command: Callable[..., None], *, also: Mapping[str, Callable[..., None]] = {}
) -> typer.Typer:
    """Returns a command, and those beside it, as a Typer app; see `run`."""
    app = new_app(cls=_First)
    app.command("list" if also else None, help=help_of(command))(_ended_by_signals(command))
    for name, other in also.items():
        app.command(name, help=help_of(other))(_ended_by_signals(other))
    return app


def new_app(*, cls: type[TyperGroup]) -> typer.Typer:
    """Returns an empty Typer app with this program's settings."""
    return typer.Typer(
        cls=cls, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich"
    )


def run_app(app: typer.Typer, *, name: str | None = None) -> None:
    """Runs an app and ends this process, as `run` says; `name` is the program's."""
    try:
        with interruptible():
            app(prog_name=name)
    except SystemExit as end:  # the way in which Typer ends
        leave(end.code)
    except (UserError, RunFailedError) as error:
        _end(error, USER_MISTAKE if isinstance(error, UserError) else FAILED)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        safe = "what a run has recorded is safe, and it can be resumed once there is room"
        _end(f"{error}; {safe}", FAILED)


def leave(code: Any) -> NoReturn:
    """Ends this process as Python does, without taking the modules of torch apart, for 1.5 s."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def _end(problem: object, exit_code: int) -> NoReturn:
    console().print(f"[bold red]error:[/] {escape(str(problem))}", soft_wrap=True)
    leave(exit_code)


def _ended_by_signals(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the exit code of the signal that ends it; Typer knows only Ctrl-C's."""

    @functools.wraps(command)
    def ended(*args: Any, **given: Any) -> None:
        try:
            command(*args, **given)
        except KeyboardInterrupt as error:
            signal = as_interrupted(error)
            console().print(f"ended by {signal}")
            sys.exit(signal.exit_code)

    return ended


def help_of(command: Callable[..., None]) -> str:
    """Returns its docstring with one line for each paragraph, which the terminal wraps."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
