"""The command inat-ray: all commands as one."""

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from inat_ray import __version__, options

COMMANDS = {
    "sweep": "Search hyperparameters on Ray Tune; train the winner; look at the test set once.",
    "train": "Train one configuration and keep its best epoch by validation accuracy.",
    "experiments": "List the experiments that come with inat_ray; each can be run by its name.",
    "prepare": "Decode, check, resize and split the images; the pack is kept in data.cache.",
    "evaluate": "Evaluate a saved model: every image once, not augmented, the loss without"
    " smoothing.",
    "predict": "Predict the classes of photographs, each prepared exactly as in training and"
    " evaluation.",
    "export": "Write a saved model as one file that needs no inat_ray.",
    "report": "Write what a run did and found as one HTML page, which needs no network.",
    "check": "Say what may be wrong with a run's photographs: labels, near-duplicates, rare"
    " classes.",
    "runs": "List the runs below a folder, newest first.",
    "simulate": "Compare searchers, schedulers and numbers of workers on the curves of a sweep.",
}
"""The modules of this folder that are commands, and the first paragraph of what each says."""


class _Commands(TyperGroup):
    """Imports only the command that is called, so that the list of them is shown at once."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns a stand-in that has only the help; see `resolve_command`."""
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name]) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, stand_in, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, stand_in, rest
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
