"""The experiment that a sweep is asked for: a file, a shipped name, a W&B sweep, or `auto`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import typer
import yaml
from rich.markup import escape

from inat_ray import options
from inat_ray.config.errors import UserError
from inat_ray.config.load import brief_experiment, load_experiment, read_sweep
from inat_ray.config.shipped import QUICKSTART, find_experiment
from inat_ray.config.wandb.translation import UnansweredError
from inat_ray.data.progress import waiting

AUTO = Path("auto")

TIME = "search.time"


class Asked(NamedTuple):
    """An experiment's file, and what changes it."""

    path: Path
    settings: list[str]
    given: options.Given

    def text(self) -> str:
        """Returns the experiment as a file may have it."""
        return brief_experiment(
            load_experiment(self.path, settings=self.settings, options=self.given)
        )

    def save(self, file: Path) -> None:
        """Writes it to a file that is not there yet."""
        text = f"# From {self.path.name}.\n{self.text()}"
        try:
            with file.open("x", encoding="utf-8") as out:
                out.write(text)
        except FileExistsError:
            raise UserError(f"--save-experiment {file}: is there already, and stays") from None
        except OSError as error:
            raise UserError(
                f"--save-experiment {file}: cannot be written: {error.strerror}"
            ) from None
        options.say("saved", file)


@contextmanager
def asked_experiment(
    experiment: Path | None, settings: list[str], given: options.Given, *, shown: bool
) -> Iterator[Asked]:
    """Finds the experiment, and asks a person for what a W&B sweep leaves open.

    Yields it with the settings that hold then. What `auto` chooses is in a file for as long.
    """
    if experiment == AUTO:
        with TemporaryDirectory(prefix="inat_ray-") as folder:
            yield _chosen(Path(folder) / "auto.yaml", settings, given, shown=shown)
    else:
        path = find_experiment(experiment or QUICKSTART)
        yield Asked(path, _answered(path, settings, given), given)


def _chosen(file: Path, settings: list[str], given: options.Given, *, shown: bool) -> Asked:
    """Writes what `auto` chooses, whose time is what is left of that which was given."""
    console = options.console()
    with waiting("looking at the images and the machine", console=console):
        from inat_ray.auto import chosen_experiment

        choice = chosen_experiment(settings, given)
    for name, why in zip(("model", "training", "search"), choice.why, strict=True):
        options.say(f"{name:8}", why)
    file.write_text(yaml.safe_dump(choice.tree, sort_keys=False), encoding="utf-8")
    found = Asked(file, settings, {key: value for key, value in given.items() if key != TIME})
    if shown:
        console.print(escape(found.text()), soft_wrap=True)
    return found


def _answered(path: Path, settings: list[str], given: options.Given) -> list[str]:
    """Shows a W&B sweep as the experiment that it is. Returns the settings with the answers to what
    it leaves open, for which it asks where there is a terminal."""
    console = options.console()
    while True:
        try:
            found = read_sweep(path, settings=settings, options=given)
            break
        except UnansweredError as error:
            if not sys.stdin.isatty():
                raise
            console.print(escape(error.questions[0]), soft_wrap=True)
            line = typer.prompt("--set", default="", show_default=False, err=True)
            if not line.strip():
                raise
            settings = [*settings, line.strip()]
    if found is not None:
        from inat_ray.terminal.wandb_table import sweep_table

        experiment = load_experiment(path, settings=settings, options=given)
        console.print(sweep_table(found, experiment))
    return settings
