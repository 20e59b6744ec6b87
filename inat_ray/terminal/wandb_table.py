"""A W&B sweep and what it is here, as a table."""

from typing import Any

import yaml
from rich.markup import escape
from rich.table import Column, Table

from inat_ray.config.experiment import Experiment
from inat_ray.config.overrides import PARAMETERS
from inat_ray.config.trial import value_at
from inat_ray.config.wandb.translation import Translation
from inat_ray.terminal.tables import folded, plain_table
from inat_ray.terminal.words import value_text

TELLING = (
    *("data.source", "data.image_size", "model.kind", "recipe.epochs", "recipe.batch_size"),
    *("recipe.optimizer", "recipe.lr", "recipe.momentum", "recipe.weight_decay"),
    *("recipe.schedule", "recipe.label_smoothing", "recipe.augment"),
)
"""Settings that a reader wants to know even where the sweep leaves them to the script."""


def sweep_table(found: Translation, experiment: Experiment) -> Table:
    """Returns each part of a sweep with its setting here, and what it leaves to our defaults."""
    table = plain_table(
        *(folded("in the sweep"), folded("here"), Column("value, or how it is drawn")),
        title="a W&B sweep, read as an experiment",
        gap=2,
    )
    for row in found.rows:
        value = escape(_value_text(row.value)) if row.ours and row.value is not None else ""
        note = f"[dim]{escape(row.note)}[/]" if row.note else ""
        cells = row.theirs.replace(" and ", "\n") or "-", row.ours.removeprefix(PARAMETERS) or "-"
        table.add_row(*map(escape, cells), "\n".join(filter(None, (value, note))))
    tree = experiment.model_dump(mode="json")
    left = [f"{name} {value_at(tree, name)}" for name in TELLING if not found.holds(name)]
    if left:
        table.caption = escape(f"what it does not say: {', '.join(left)}")
    return table


def _value_text(value: Any) -> str:
    """Returns a value as `--set` takes it."""
    if not isinstance(value, dict):
        return value_text(value)
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6).strip()
