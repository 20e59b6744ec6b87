"""The experiment that a sweep is asked for: a file, a shipped name, a W&B sweep, or `auto`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import typer
from rich.markup import escape

from inat_ray import options
from inat_ray.config.auto import TAKEN
from inat_ray.config.errors import UserError
from inat_ray.config.load import Source, brief_experiment, label, load_experiment, read_sweep
from inat_ray.config.overrides import parse_setting
from inat_ray.config.shipped import AUTO, QUICKSTART, find_experiment
from inat_ray.config.wandb.translation import UnansweredError
from inat_ray.data.progress import waiting


class Asked(NamedTuple):
    """An experiment, and what changes it."""

    source: Source
    settings: list[str]
    given: options.Given

    def text(self) -> str:
        """Returns the experiment as a file may have it."""
        return brief_experiment(
            load_experiment(self.source, settings=self.settings, options=self.given)
        )

    def save(self, file: Path) -> None:
        """Writes it to a file that is not there yet."""
        text = f"# From {Path(label(self.source)).name}.\n{self.text()}"
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


def asked_experiment(
    experiment: Path | None, settings: list[str], given: options.Given, *, shown: bool
) -> Asked:
    """Finds or chooses the experiment, and asks a person for what a W&B sweep leaves open.

    Returns it with the settings that hold then; `shown` prints what `auto` chose.
    """
    if experiment != Path(AUTO) or experiment.is_file():
        path = find_experiment(experiment or QUICKSTART)
        return Asked(path, _answered(path, settings, given), given)
    found = chosen(settings, given)
    if shown:
        options.console().print(escape(found.text()), soft_wrap=True)
    return found


def chosen(settings: Sequence[str], given: options.Given) -> Asked:
    """Chooses an experiment as `chosen_experiment`, and says why."""
    with waiting("looking at the images and the machine", console=options.console()):
        from inat_ray.auto import chosen_experiment

        choice = chosen_experiment(settings, given)
    for name, why in zip(("model", "training", "search"), choice.why, strict=True):
        options.say(f"{name:8}", why)
    others = [line for line in settings if parse_setting(line)[0] not in TAKEN]
    return Asked(choice.tree, others, {k: given[k] for k in given if k not in TAKEN})


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
