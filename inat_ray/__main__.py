"""The command inat-ray: all commands as one."""

import ast
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from inat_ray import __version__, options

COMMANDS = (
    *("sweep", "train", "experiments", "prepare", "evaluate", "predict", "export", "ensemble"),
    *("report", "check", "runs", "simulate"),
)
"""The modules of this folder that are commands."""


def summary(name: str) -> str:
    """Returns the first paragraph of what a command says, read without importing it."""
    tree = ast.parse(Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8"))
    main = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main")
    return " ".join((ast.get_docstring(main) or "").split("\n\n")[0].split())


class _Commands(TyperGroup):
    """Imports only the command that is called, so that the list of them is shown at once."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns a stand-in that has only the help; see `resolve_command`."""
        return TyperCommand(cmd_name, help=summary(cmd_name)) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, *rest = args
        if name not in COMMANDS:
            return super().resolve_command(ctx, args)  # says which there are
        module = import_module(f"inat_ray.{name}")
        app = options.app_of(module.main, also=getattr(module, "ALSO", {}))
        return name, typer.main.get_command(app), rest


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"inat_ray {__version__}")
        raise typer.Exit


def inat_ray(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_tell_version, help="Print the version."),
    ] = False,
) -> None:
    """Hyperparameter search for image classifiers on Ray.

    Each command has a --help of its own. Example: inat-ray sweep
    """


def main() -> None:
    """Runs inat-ray."""
    app = options.new_app(cls=_Commands)
    app.callback(no_args_is_help=True, help=options.help_of(inat_ray))(inat_ray)
    options.run_app(app, name="inat-ray")


if __name__ == "__main__":
    main()
